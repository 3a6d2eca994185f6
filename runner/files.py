"""A file is either its old self or its new self, whatever happens in between.

The order is the one that survives kills and power cuts: a unique temporary file beside the target,
write, fsync, rename, fsync of the directory. All of it goes through `Disk`, so that a test can
record, fail or interrupt any single operation.
"""

import errno
import mmap
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from runner.errors import DiskRefuses

_HOST = socket.gethostname().split(".")[0] or "localhost"

_REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
_PIECE = 16 << 20  # bytes a system call
_WORTH_A_WAY_OF_ITS_OWN = 8 << 20  # bytes; a smaller file would wait for the disk twice, in the write and in the sync


class Disk:
    """The file operations that durability rests on, one method each."""

    def create(self, path: Path) -> BinaryIO:
        """Open a new file for writing; it must not exist."""
        return open(path, "xb")

    def put(self, file: BinaryIO, memory: memoryview) -> None:
        """Write memory that begins at a page; its whole pages go past the page cache, where the file system lets them.

        A large file neither costs a second copy then nor drives the training data out of the cache.
        """
        file.flush()
        descriptor, whole = file.fileno(), len(memory) // mmap.PAGESIZE * mmap.PAGESIZE
        begin = os.lseek(descriptor, 0, os.SEEK_CUR)
        if whole >= _WORTH_A_WAY_OF_ITS_OWN:
            with _past_the_cache(descriptor) as allowed:
                if allowed:
                    _write_directly(descriptor, memory[:whole])
        _write(descriptor, memory[os.lseek(descriptor, 0, os.SEEK_CUR) - begin :])

    def sync(self, file: BinaryIO) -> None:
        """Return only when the file's bytes are on the disk."""
        file.flush()
        os.fsync(file.fileno())

    def replace(self, source: Path, target: Path) -> None:
        """Rename `source` over `target` in one step."""
        os.replace(source, target)

    def link(self, source: Path, target: Path) -> None:
        """Give the file `source` the second name `target`, which must not exist."""
        os.link(source, target)

    def unlink(self, path: Path) -> None:
        """Remove one name."""
        os.unlink(path)

    def sync_directory(self, path: Path) -> None:
        """Return only when the names in the directory are on the disk, where the file system can promise it."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems know no such sync
                raise
        finally:
            os.close(descriptor)


@contextmanager
def _past_the_cache(descriptor: int) -> Iterator[bool]:
    """Let writes of whole pages go straight to the disk; yields whether that is possible."""
    direct = getattr(os, "O_DIRECT", 0)
    if not direct:
        yield False
        return
    import fcntl

    former = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, former | direct)
    except OSError:
        yield False
        return
    try:
        yield True
    finally:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, former)


def _write_directly(descriptor: int, memory: memoryview) -> None:
    """Write as much as goes past the cache; some file systems take the flag, and then none of the writes."""
    try:
        _write(descriptor, memory)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise


def _write(descriptor: int, memory: memoryview) -> None:
    position = 0
    while position < len(memory):
        position += os.write(descriptor, memory[position : position + _PIECE])


def write_durably(path: Path, write: Callable[[BinaryIO], None], disk: Disk) -> None:
    """Make `path` hold what `write` writes, durably and in one step; on failure nothing has changed."""
    temporary = temporary_beside(path)
    try:
        with disk.create(temporary) as file:
            write(file)
            disk.sync(file)
        disk.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            disk.unlink(temporary)
        raise
    disk.sync_directory(path.parent)


def make_directory(path: Path, disk: Disk) -> None:
    """Make a directory and those above it that are missing, each with its name on the disk."""
    missing = [directory for directory in (path, *path.parents) if not directory.exists()]
    for directory in reversed(missing):
        directory.mkdir(exist_ok=True)
        disk.sync_directory(directory.parent)


def replace_text(path: Path, text: str) -> None:
    """Make `path` hold `text` in one step, for readers; not forced to the disk."""
    temporary = temporary_beside(path)
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def refusal(error: BaseException, directory: Path | None = None) -> DiskRefuses | None:
    """Return the one sentence for an error that comes of a disk which takes nothing more; None for any other.

    The free space is that of the file's directory, or of `directory` where the error names no file.
    """
    cause: BaseException | None = error
    while cause is not None and not (isinstance(cause, OSError) and cause.errno in _REFUSALS):
        cause = cause.__cause__ or cause.__context__
    if not isinstance(cause, OSError):
        return None
    named = isinstance(cause.filename, str)
    place = (Path(cause.filename).parent if named else directory or Path()).absolute()
    place = next(path for path in (place, *place.parents) if path.is_dir())
    free = shutil.disk_usage(place).free
    return DiskRefuses(
        f"{cause.filename or 'a file'} could not be written: {cause.strerror}; {free >> 20} MiB are free in "
        f"{place}; make space or mend it, and give the same command again"
    )


def temporary_beside(path: Path) -> Path:
    """Return a name in the same directory that no other process and no later call will use."""
    return path.with_name(f".{path.name}.tmp-{_HOST}-{os.getpid()}-{uuid4().hex[:8]}")


def remove_stale_temporaries(directory: Path) -> None:
    """Delete the temporary files that processes of this host, now dead, left in `directory`.

    To be called before this process writes there: a name with its own pid is an ancestor's.
    """
    for path in directory.glob(f".*.tmp-{_HOST}-*-*"):
        owner = path.name.rsplit("-", 2)[1]
        if owner.isdigit() and (int(owner) == os.getpid() or not is_alive(int(owner))):
            path.unlink(missing_ok=True)


def is_alive(pid: int) -> bool:
    """Return whether this host has a process of that number."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
