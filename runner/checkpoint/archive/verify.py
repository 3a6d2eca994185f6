"""Check every byte of a checkpoint file before it is used, without torch.

`torch.load` does not check the CRCs that `torch.save` writes, so it misses every bit flip in tensor data.
"""

import os
import stat
import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from runner.checkpoint.archive.checksums import check_contents
from runner.checkpoint.archive.foreign import check_known
from runner.checkpoint.archive.framing import find_members
from runner.checkpoint.archive.layout import Member
from runner.errors import CheckpointDamaged, CheckpointMissing, CheckpointRefused, RunnerError

LARGEST_DIRECTORY = 24 << 20  # bytes; about 300,000 members
_END_OF_ZIP = b"PK\x05\x06"
_ENDS = 56 + 20 + 22  # bytes of the records at the end of an archive, the two of zip64 first


@dataclass(frozen=True)
class Archive:
    """An open file with located members; all reads go through this one descriptor."""

    path: Path
    file: BinaryIO
    members: Mapping[str, Member]
    """By their names below the archive's folder."""

    def read(self, name: str) -> bytes:
        """Return the bytes of a member, checked."""
        memory = bytearray(self.members[name].size)
        self.check([name], {name: memoryview(memory)})
        return bytes(memory)

    def check(
        self, names: Iterator[str] | list[str] | None = None, kept: Mapping[str, memoryview] | None = None
    ) -> None:
        """Check every byte of the members, all of them by default; those in `kept` are read into that memory."""
        chosen = self.members if names is None else names
        inside = {self.members[name].name: memory for name, memory in (kept or {}).items()}
        check_contents(self.file.fileno(), [self.members[name] for name in chosen], inside)


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """Open a file once, as an archive of `torch.save`; errors in the block are reported as errors of the file.

    Raises:
        CheckpointMissing: the file does not exist.
        CheckpointDamaged: it is truncated, empty, or has holes or flipped bits.
        CheckpointRefused: it is another kind of file, or an archive that `torch.save` never writes.
    """
    with open_regular(path) as file:
        try:
            yield _archive(path, file)
        except RunnerError:
            raise
        except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, IndexError, struct.error) as error:
            raise _damaged(path, str(error)) from error


@contextmanager
def open_regular(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file that is not empty; read errors in the block are reported as errors of the file.

    Raises:
        CheckpointMissing, CheckpointDamaged, CheckpointRefused: missing; empty or unreadable; not a regular file.
    """
    check_regular(path)
    try:
        with open(path, "rb", opener=_open_now) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # it may have been replaced since
                raise CheckpointRefused(f"{path} is not a regular file, so it was not opened")
            yield file
    except RunnerError:
        raise
    except PermissionError as error:
        raise CheckpointRefused(f"{path} cannot be read: {error.strerror}") from error
    except FileNotFoundError as error:  # pruned just now
        raise _missing(path) from error
    except OSError as error:
        raise _damaged(path, f"reading it failed: {error}") from error


def _open_now(path: str, flags: int) -> int:
    """Open a path that may have become a pipe, without waiting for its writer."""
    return os.open(path, flags | os.O_NONBLOCK)


def _archive(path: Path, file: BinaryIO) -> Archive:
    size = os.fstat(file.fileno()).st_size
    _check_envelope(path, file.read(512), _tail(file, size))
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        root = _check_members(path, members, size)
        found = find_members(file.fileno(), members, archive.start_dir, size)
    return Archive(path, file, {member.name.removeprefix(root): member for member in found})


def check_regular(path: Path) -> os.stat_result:
    """Return the status of a regular file that is not empty; raise as `opened` for anything else."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _missing(path) from error
    except (OSError, ValueError) as error:
        raise CheckpointMissing(f"{path!s:.200} cannot be opened: {error}") from error
    if stat.S_ISDIR(status.st_mode):
        raise CheckpointMissing(f"{path} is a directory; name a checkpoint file in it, such as last.tar")
    if not stat.S_ISREG(status.st_mode):
        raise CheckpointRefused(f"{path} is not a regular file, so it was not opened")
    if status.st_size == 0:
        raise _damaged(path, "it is empty")
    return status


def _tail(file: BinaryIO, size: int) -> bytes:
    file.seek(max(0, size - _ENDS))
    return file.read()


def _check_envelope(path: Path, head: bytes, tail: bytes) -> None:
    check_known(path, head)
    if not head.startswith(b"PK\x03\x04"):
        raise _damaged(path, "it does not start like a file of torch.save")
    if tail[-22:-18] != _END_OF_ZIP or tail[-2:] != b"\0\0":
        raise _damaged(path, "its end is missing, or something was appended")
    if _directory_size(tail) > LARGEST_DIRECTORY:
        raise CheckpointRefused(f"{path} is refused: it lists more members than any checkpoint has tensors")


def _directory_size(tail: bytes) -> int:
    is_long = tail.startswith(b"PK\x06\x06") and tail[56:60] == b"PK\x06\x07"
    return int.from_bytes(tail[40:48] if is_long else tail[-10:-6], "little")


def _check_members(path: Path, members: list[zipfile.ZipInfo], size: int) -> str:
    """Return the folder that holds all members."""
    names = [member.filename for member in members]
    if len({name.lower() for name in names}) != len(names):
        raise CheckpointRefused(f"{path} has two members of one name, which torch.save never writes")
    if any(_is_outside(member) for member in members):
        raise CheckpointRefused(f"{path} has a member outside its own folder, which torch.save never writes")
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise CheckpointRefused(f"{path} has compressed members, which torch.save never writes")
    structures = [name for name in names if name.lower().endswith("/data.pkl")]
    root = structures[0].removesuffix("data.pkl") if structures else ""
    if root.count("/") != 1 or not all(name.startswith(root) for name in names):
        raise CheckpointRefused(f"{path} is a zip archive of another program, not a checkpoint")
    if len(structures) != 1:
        raise CheckpointRefused(f"{path} has two structures ({', '.join(structures)[:200]}); torch.save writes one")
    if sum(member.file_size for member in members) > size:
        raise CheckpointRefused(f"{path} claims to hold more bytes than it has")
    if min(member.header_offset for member in members) != 0:
        raise _damaged(path, "something was put before its start")
    return root


def _is_outside(member: zipfile.ZipInfo) -> bool:
    name = member.filename
    return name != member.orig_filename or name.startswith("/") or ".." in name.split("/") or "\\" in name


def _missing(path: Path) -> CheckpointMissing:
    return CheckpointMissing(f"there is no checkpoint at {path}")


def _damaged(path: Path, how: str) -> CheckpointDamaged:
    return CheckpointDamaged(
        f"{path} is damaged ({how.rstrip('.')}); take another checkpoint of the run, or name the run's "
        "directory to go on from its newest valid one"
    )
