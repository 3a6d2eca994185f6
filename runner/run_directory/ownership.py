"""One process at a time owns a run directory, by a kernel lock on a file that names the owner.

The lock is `flock`'s: the kernel releases it when its process ends, so a leftover lock file means nothing. Unlike
`lockf`'s, it survives that the same process opens and closes the file elsewhere. A forked child drops it at once.
"""

import errno
import fcntl
import json
import logging
import os
import platform
import re
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from runner.errors import NotWritable, RunInUse, SaveFailed
from runner.files import is_alive
from runner.run_directory.inside import check_inside

FILE = ".lock"
_GRACE = 0.3  # seconds for a reader that tests the lock and holds it for that moment
_LINGERING = 15.0  # seconds for the processes of a dead owner, or for an owner that has not signed yet
_PAUSE = 0.05
_QUIET = 600.0  # seconds without a write until the owner on another host counts as dead
_LONGEST = 1000  # bytes of a record
_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)
_OPENED = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # the file may be a link or a pipe
_HOST = re.compile(r"[\w.-]{1,255}")


@dataclass(frozen=True)
class Owner:
    """The owner of a run directory, or the last one."""

    host: str
    pid: int
    started: str

    def is_dead(self) -> bool:
        """Return whether it is known to have ended; an owner with this process's pid is an earlier process."""
        return self.host == platform.node() and (self.pid == os.getpid() or not is_alive(self.pid))


class Ownership:
    """Owns at most one run directory at a time, and none after its `with` block."""

    def __init__(self, patience: float = _LINGERING) -> None:
        self._patience = patience
        self._directory: Path | None = None
        self._descriptor: int | None = None
        self._signed = False

    def __enter__(self) -> Self:
        """Own nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Release the directory."""
        self._release()

    def holds(self, directory: Path) -> bool:
        """Return whether this owns the directory."""
        return self._directory == directory.resolve()

    def take(self, directory: Path) -> None:
        """Own an existing directory; changes nothing in it, except that it creates an empty lock file if there is none.

        Raises:
            RunInUse: another process owns it.
            NotWritable: this user may not write there.
            LeadsElsewhere: something in it is a link, through which the run would write elsewhere.
        """
        if self.holds(directory):
            return
        check_inside(directory)
        self._release()
        descriptor = _open(directory / FILE)
        try:
            self._wait(descriptor, directory)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor, self._directory = descriptor, directory.resolve()
        os.register_at_fork(after_in_child=self._close)

    def sign(self) -> None:
        """Write the owner into the lock file, for the messages of other processes."""
        assert self._descriptor is not None
        self._signed = True
        owner = Owner(platform.node(), os.getpid(), datetime.now(UTC).isoformat(timespec="seconds"))
        line = (json.dumps(asdict(owner)) + "\n").encode()
        with suppress(OSError):  # a full disk: the lock itself holds
            os.pwrite(self._descriptor, line, 0)
            os.ftruncate(self._descriptor, len(line))

    def _wait(self, descriptor: int, directory: Path) -> None:
        """Return once the lock is taken or, on a file system without locks, nobody else is on record."""
        began = time.monotonic()
        while (locked := _lock(descriptor, fcntl.LOCK_EX)) is False:
            owner = owner_of(directory)
            patience = self._patience if owner is None or owner.is_dead() else _GRACE
            if time.monotonic() - began > patience:
                raise _in_use(directory, owner)
            time.sleep(_PAUSE)
        if locked is None:
            _check_record(directory)

    def _release(self) -> None:
        if self._descriptor is not None and self._signed:
            with suppress(OSError):
                os.ftruncate(self._descriptor, 0)  # or a later process with this pid is taken for the owner
        self._close()

    def _close(self) -> None:
        if self._descriptor is not None:
            with suppress(OSError):
                os.close(self._descriptor)
        self._descriptor, self._directory, self._signed = None, None, False


class Tenure:
    """Detects that another directory has taken the name of the one this process owns."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = _number(directory / FILE)

    def check(self) -> None:
        """Raise `SaveFailed` if another run has the name now; a deleted lock file alone does no harm."""
        if self._lock is not None and _number(self._directory / FILE) not in (None, self._lock):
            raise SaveFailed(
                f"{self._directory} was moved or deleted during this run, and another process has started there; "
                "nothing was saved among its files: give the moved directory another name, and go on there"
            )


def is_owned(directory: Path) -> bool | None:
    """Return whether a process owns the directory, None where that is unknown."""
    try:
        descriptor = os.open(directory / FILE, os.O_RDONLY | _OPENED)
    except OSError:
        return None
    try:
        locked = _lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)
    return None if locked is None else not locked


def check_unowned(directory: Path) -> None:
    """Raise `RunInUse` if another process is known to own the directory."""
    if is_owned(directory):
        raise _in_use(directory, owner_of(directory))


def owner_of(directory: Path) -> Owner | None:
    """Return who signed last, None if nobody did or the record is unreadable."""
    try:
        descriptor = os.open(directory / FILE, os.O_RDONLY | _OPENED)
        try:
            line = os.read(descriptor, _LONGEST).partition(b"\n")[0]
        finally:
            os.close(descriptor)
        owner = Owner(**json.loads(line))
        valid = _HOST.fullmatch(owner.host) and type(owner.pid) is int and owner.pid > 0
        datetime.fromisoformat(owner.started)
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    return owner if valid else None


def _number(path: Path) -> int | None:
    """Return the inode of a file, None if there is no file; an open file keeps its own."""
    try:
        return path.stat().st_ino
    except OSError:
        return None


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | _OPENED, 0o666)
    except OSError as error:
        raise NotWritable(
            f"{path} cannot be written ({error.strerror}), and a run needs it to lock its directory; "
            "fix its permissions, or take another name="
        ) from error


def _lock(descriptor: int, kind: int) -> bool | None:
    """Return whether the lock was taken; None on a file system without locks."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _WITHOUT_LOCKS:
            return None
        raise
    return True


def _check_record(directory: Path) -> None:
    """Without locks, refuse if a live process of this host, or another host with recent writes, is on record.

    Two processes that start at the same moment are not detected.
    """
    logging.getLogger("runner").warning(
        "%s is on a file system without locks: never start two processes there at the same moment", directory
    )
    owner = owner_of(directory)
    if owner is None or owner.is_dead():
        return
    newest = max((path.stat().st_mtime for path in directory.iterdir() if path.exists()), default=0.0)
    if owner.host == platform.node() or time.time() - newest < _QUIET:
        raise _in_use(directory, owner)


def _in_use(directory: Path, owner: Owner | None) -> RunInUse:
    if owner is None:
        return RunInUse(f"{directory} is in use by an unknown process; wait, or take another name=")
    who = f"process {owner.pid} of host {owner.host}"
    if owner.is_dead():
        return RunInUse(
            f"{directory} is still held by processes that {who}, now dead, left behind; end them (fuser -v "
            f"{directory / FILE} shows them), or take another name="
        )
    return RunInUse(
        f"{directory} is in use by {who}, since {owner.started}; wait for it, stop it there with "
        f"`kill {owner.pid}`, which saves first, or take another name="
    )
