"""Atomic, durable file writes: a file is either its old self or its new self.

The order survives kills and power cuts: a unique temporary file beside the target, write, fsync, rename, fsync of
the directory. Every operation goes through `Disk`, so that a test can record, fail or interrupt any one of them.
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

_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSALS = (*_FULL, errno.EROFS, errno.EFBIG)
_BLOCK = 512  # bytes, of which `stat` counts a file's blocks
_PIECE = 16 << 20  # bytes per system call
_WORTH_DIRECT_IO = 8 << 20  # bytes; below, O_DIRECT waits for the disk twice, in write and in sync


class Disk:
    """The file operations behind durable writes, one method each."""

    def create(self, path: Path) -> BinaryIO:
        """Open a new file for writing; it must not exist."""
        return open(path, "xb")

    def put(self, file: BinaryIO, memory: memoryview) -> None:
        """Write page-aligned memory; whole pages bypass the page cache where the file system allows it.

        A large file then costs no second copy and does not evict the training data from the cache.
        """
        file.flush()
        descriptor, whole = file.fileno(), len(memory) // mmap.PAGESIZE * mmap.PAGESIZE
        begin = os.lseek(descriptor, 0, os.SEEK_CUR)
        if whole >= _WORTH_DIRECT_IO:
            with _past_the_cache(descriptor) as allowed:
                if allowed:
                    _write_directly(descriptor, memory[:whole])
        _write(descriptor, memory[os.lseek(descriptor, 0, os.SEEK_CUR) - begin :])

    def sync(self, file: BinaryIO) -> None:
        """Return once the file's bytes are on the disk."""
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
        """Return once the directory's names are on the disk, where the file system can promise it."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems cannot
                raise
        finally:
            os.close(descriptor)


@contextmanager
def _past_the_cache(descriptor: int) -> Iterator[bool]:
    """Open the descriptor for direct I/O of whole pages; yield whether that is possible."""
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
    """Write as much as possible by direct I/O; some file systems accept the flag but refuse the writes."""
    try:
        _write(descriptor, memory)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise


def _write(descriptor: int, memory: memoryview) -> None:
    position = 0
    while position < len(memory):
        position += os.write(descriptor, memory[position : position + _PIECE])


def write_durably(path: Path, write: Callable[[BinaryIO], object], disk: Disk) -> None:
    """Replace the file `path` by what `write` writes, atomically and durably; on failure nothing changes."""
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
    """Create a directory and its missing parents, durably."""
    missing = [directory for directory in (path, *path.parents) if not directory.exists()]
    for directory in reversed(missing):
        directory.mkdir(exist_ok=True)
        disk.sync_directory(directory.parent)


def replace_text(path: Path, text: str) -> None:
    """Replace the content of `path` by `text`, atomically but not durably."""
    temporary = temporary_beside(path)
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def replace_text_even_if_full(path: Path, text: str) -> None:
    """Replace the content of `path` by `text`, atomically; on a full disk in place, if the file's blocks hold it.

    For what must be told when the disk is full. In place, `text` is padded with spaces to the former length.
    """
    try:
        replace_text(path, text)
    except OSError as error:
        if error.errno not in _FULL or not _rewritten(path, text.encode()):
            raise


def _rewritten(path: Path, content: bytes) -> bool:
    """Return whether the content was written over that of a file, in one call and without a further block."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        former = os.fstat(descriptor)
        padded = content.ljust(former.st_size)
        fits = len(padded) <= former.st_blocks * _BLOCK
        return fits and os.write(descriptor, padded) == len(padded)
    except OSError:  # a file system that never writes in place
        return False
    finally:
        os.close(descriptor)


def refusal(error: BaseException, directory: Path | None = None) -> DiskRefuses | None:
    """Return a `DiskRefuses` for an error that a full or read-only disk caused; None for any other.

    The message gives the free space of the file's directory, or of `directory` where the error names no file.
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
        f"{place}; make space, and run the same command again"
    )


def temporary_beside(path: Path) -> Path:
    """Return a name in the same directory that no other process or call uses."""
    return path.with_name(f".{path.name}.tmp-{_HOST}-{os.getpid()}-{uuid4().hex[:8]}")


def remove_stale_temporaries(directory: Path) -> None:
    """Delete the temporary files and folders that dead processes of this host left in `directory`.

    Call it before this process writes there: a name with its own pid is from an earlier process.
    """
    for path in directory.glob(f".*.tmp-{_HOST}-*-*"):
        owner = path.name.rsplit("-", 2)[1]
        if owner.isdigit() and (int(owner) == os.getpid() or not is_alive(int(owner))):
            remove(path)


def remove(path: Path) -> None:
    """Delete a file or a whole folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def is_alive(pid: int) -> bool:
    """Return whether this host has a process with this pid."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
