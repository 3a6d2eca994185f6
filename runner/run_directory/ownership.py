"""One process at a time works in a run directory: a kernel lock on a file in it, which says who holds it.

The lock is `flock`'s: the kernel ends it with its process, however that ended, so that a lock file
which lingers means nothing, and opening and closing the file elsewhere loses nothing, as it would
with `lockf`. A forked child inherits the lock and lets go of it at once.
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
_GRACE = 0.3  # seconds for a reader that looks whether the lock is held, and holds it for that moment
_LINGERING = 15.0  # seconds for what a dead owner has left behind, or for an owner that has not signed yet
_PAUSE = 0.05
_QUIET = 600.0  # seconds without a write after which another host's record is believed to be of a dead process
_LONGEST = 1000  # bytes of a record
_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)
_OPENED = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # whatever a stranger may have put in the file's place
_HOST = re.compile(r"[\w.-]{1,255}")


@dataclass(frozen=True)
class Owner:
    """Who holds a run directory, or held it last."""

    host: str
    pid: int
    started: str

    def is_dead(self) -> bool:
        """Return whether it is known to have ended; this process, which asks, is another than its namesake."""
        return self.host == platform.node() and (self.pid == os.getpid() or not is_alive(self.pid))


class Ownership:
    """Holds at most one run directory at a time, and none once its `with` block has ended."""

    def __init__(self, patience: float = _LINGERING) -> None:
        self._patience = patience
        self._directory: Path | None = None
        self._descriptor: int | None = None
        self._signed = False

    def __enter__(self) -> Self:
        """Hold nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go."""
        self._release()

    def holds(self, directory: Path) -> bool:
        """Return whether the directory is this one's own."""
        return self._directory == directory.resolve()

    def take(self, directory: Path) -> None:
        """Hold a directory that exists; nothing in it changes but for an empty file where there was no lock file.

        Raises:
            RunInUse: another process holds it.
            NotWritable: this user may not write there.
            LeadsElsewhere: something in it is a link, through which another directory would be written.
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
        """Write down who holds the directory, for those who come second."""
        assert self._descriptor is not None
        self._signed = True
        owner = Owner(platform.node(), os.getpid(), datetime.now(UTC).isoformat(timespec="seconds"))
        line = (json.dumps(asdict(owner)) + "\n").encode()
        with suppress(OSError):  # a full disk: the lock itself needs none of it
            os.pwrite(self._descriptor, line, 0)
            os.ftruncate(self._descriptor, len(line))

    def _wait(self, descriptor: int, directory: Path) -> None:
        """Return once the lock is had or, where there are none, nobody else is on record."""
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
                os.ftruncate(self._descriptor, 0)  # so that no other process is taken for this one later
        self._close()

    def _close(self) -> None:
        if self._descriptor is not None:
            with suppress(OSError):
                os.close(self._descriptor)
        self._descriptor, self._directory, self._signed = None, None, False


class Tenure:
    """Tells the directory that this process owns from another one that takes its place under its name."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = _number(directory / FILE)

    def check(self) -> None:
        """Raise `SaveFailed` if another run has the name now; that only the lock file was deleted harms nobody."""
        if self._lock is not None and _number(self._directory / FILE) not in (None, self._lock):
            raise SaveFailed(
                f"{self._directory} was moved or deleted under this run, and another process has begun there since; "
                "nothing is saved among its files: give the moved directory another name, and go on in that"
            )


def is_owned(directory: Path) -> bool | None:
    """Return whether a process holds the directory, None where that cannot be known; disturbs nobody."""
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
    """Raise `RunInUse` if another process holds the directory; without a lock to ask, it passes."""
    if is_owned(directory):
        raise _in_use(directory, owner_of(directory))


def owner_of(directory: Path) -> Owner | None:
    """Return who signed last, None if nobody did or it cannot be understood."""
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
    """Return the number that a file has as long as it is open, None where there is no file."""
    try:
        return path.stat().st_ino
    except OSError:
        return None


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | _OPENED, 0o666)
    except OSError as error:
        raise NotWritable(
            f"{path} cannot be written ({error.strerror}), and a run needs it to be its directory's only owner; "
            "mend it or its permissions, or take another name="
        ) from error


def _lock(descriptor: int, kind: int) -> bool | None:
    """Return whether the lock was had; None on a file system that has none."""
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
    """Without locks, believe what is on record: a live process of this host, or another host's recent writes.

    Two that start at the same moment are not told apart.
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
        return RunInUse(f"{directory} is in use by a process that has not said who it is; wait, or take another name=")
    who = f"process {owner.pid} of host {owner.host}"
    if owner.is_dead():
        return RunInUse(
            f"{directory} is still held by what {who}, now dead, has left behind; end that (fuser -v "
            f"{directory / FILE} shows it), or take another name="
        )
    return RunInUse(
        f"{directory} is in use by {who}, since {owner.started}; wait for its end, stop it there with "
        f"`kill {owner.pid}`, which saves first, or take another name="
    )
