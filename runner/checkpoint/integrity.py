"""A checkpoint file is believed only after every byte that matters was checked.

`torch.load` does not check the CRCs that `torch.save` writes: of single-bit flips in tensor data
not one is noticed. Nothing here imports torch or runs anything that a file says.
"""

import os
import stat
import struct
import zipfile
from pathlib import Path, PurePosixPath

from runner.checkpoint.checksums import check_contents
from runner.checkpoint.foreign import check_known
from runner.checkpoint.framing import extents
from runner.errors import CheckpointDamaged, CheckpointMissing, CheckpointRefused

LARGEST_DIRECTORY = 24 << 20  # bytes; some 300,000 members
_END_OF_ZIP = b"PK\x05\x06"
_ENDS = 56 + 20 + 22  # bytes of the records at the end of an archive, those of large ones first


def verify(path: Path) -> os.stat_result:
    """Return the status of the file that was checked, an undamaged zip archive of the form that `torch.save` writes.

    Raises:
        CheckpointMissing: there is no such file.
        CheckpointDamaged: truncated, holed, flipped or empty.
        CheckpointRefused: another kind of file, or an archive that `torch.save` never writes.
    """
    check_regular(path)
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())  # a writer may have put another file in its place since
            size = status.st_size
            _check_envelope(path, file.read(512), _tail(file, size))
            with zipfile.ZipFile(file) as archive:
                _check_members(path, archive, size)
                placed = extents(file.fileno(), archive.infolist(), archive.start_dir, size)
                check_contents(file.fileno(), placed)
            return status
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, IndexError, struct.error) as error:
        if isinstance(error, (CheckpointDamaged, CheckpointRefused)):
            raise
        raise _damaged(path, str(error)) from error
    except PermissionError as error:
        raise CheckpointRefused(f"{path} cannot be read: {error.strerror}") from error
    except FileNotFoundError as error:  # pruned a moment ago
        raise _missing(path) from error
    except OSError as error:
        raise _damaged(path, f"reading it failed: {error}") from error
    except RuntimeError as error:  # zipfile: an encrypted member
        raise CheckpointRefused(f"{path} is not a checkpoint: {error}") from error


def is_still(path: Path, status: os.stat_result) -> bool:
    """Return whether `path` is the very file, unchanged, that had this status."""
    try:
        now = path.stat()
    except FileNotFoundError as error:
        raise _missing(path) from error
    return (now.st_dev, now.st_ino, now.st_mtime_ns) == (status.st_dev, status.st_ino, status.st_mtime_ns)


def check_regular(path: Path) -> int:
    """Return the size of a regular file that is not empty; anything else raises as `verify` does."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _missing(path) from error
    except (OSError, ValueError) as error:
        raise CheckpointMissing(f"{path!s:.200} cannot be a checkpoint: {error}") from error
    if stat.S_ISDIR(status.st_mode):
        raise CheckpointMissing(f"{path} is a directory; name a checkpoint file in it, such as last.tar")
    if not stat.S_ISREG(status.st_mode):
        raise CheckpointRefused(f"{path} is not a regular file, so it is not opened")
    if status.st_size == 0:
        raise _damaged(path, "it is empty")
    return status.st_size


def _tail(file: "zipfile.IO[bytes]", size: int) -> bytes:  # type: ignore[name-defined]
    file.seek(max(0, size - _ENDS))
    return bytes(file.read())


def _check_envelope(path: Path, head: bytes, tail: bytes) -> None:
    check_known(path, head)
    if not head.startswith(b"PK\x03\x04"):
        raise _damaged(path, "it does not start like a file that torch.save wrote")
    if tail[-22:-18] != _END_OF_ZIP or tail[-2:] != b"\0\0":
        raise _damaged(path, "its end is missing or something was appended to it")
    if _directory_size(tail) > LARGEST_DIRECTORY:
        raise CheckpointRefused(f"{path} is refused: it lists more members than any checkpoint has tensors")


def _directory_size(tail: bytes) -> int:
    is_long = tail.startswith(b"PK\x06\x06") and tail[56:60] == b"PK\x06\x07"
    return int.from_bytes(tail[40:48] if is_long else tail[-10:-6], "little")


def _check_members(path: Path, archive: zipfile.ZipFile, size: int) -> None:
    members = archive.infolist()
    names = [member.filename for member in members]
    roots = {PurePosixPath(name).parts[0] for name in names if name}
    if len({name.lower() for name in names}) != len(names):
        raise CheckpointRefused(f"{path} has two members of one name, which torch.save never writes")
    if any(name.startswith("/") or ".." in name.split("/") or "\\" in name for name in names):
        raise CheckpointRefused(f"{path} has a member outside its own folder, which torch.save never writes")
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise CheckpointRefused(f"{path} has compressed members, which torch.save never writes")
    if len(roots) != 1 or f"{next(iter(roots))}/data.pkl" not in names:
        raise CheckpointRefused(f"{path} is a zip archive of another program, not a checkpoint")
    if sum(member.file_size for member in members) > size:
        raise CheckpointRefused(f"{path} claims to hold more bytes than it has")
    if min(member.header_offset for member in members) != 0:
        raise _damaged(path, "something was put before its beginning")


def _missing(path: Path) -> CheckpointMissing:
    return CheckpointMissing(f"there is no checkpoint at {path}")


def _damaged(path: Path, how: str) -> CheckpointDamaged:
    return CheckpointDamaged(
        f"{path} is damaged ({how.rstrip('.')}); take another checkpoint of the run, or name the run's "
        "directory to go on from its newest valid one"
    )
