"""The manifest of a sharded checkpoint: the size and SHA-256 of every file in its directory."""

import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runner.checkpoint.archive.safetensors_header import ENDING
from runner.errors import CheckpointDamaged, CheckpointMissing, CheckpointRefused
from runner.files import Disk, write_durably
from runner.small_files import Malformed, read_entries

MANIFEST = "manifest.json"
GENERAL = "general.tar"
"""The general checkpoint without the divided tensors."""
MOST_FILES = 10_000
"""More take seconds to open, and a longer manifest than is read."""
_FORMAT, _VERSION = "runner.sharded_checkpoint", 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}\.safetensors")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Digest:
    """What a file was when it was written."""

    bytes: int
    sha256: str


def is_sharded(path: Path) -> bool:
    """Return whether a path is the directory of a sharded checkpoint, or a link to one."""
    return os.path.isdir(path) and os.path.lexists(path / MANIFEST)


def general_of(path: Path) -> Path:
    """Return the general file of a checkpoint: of a sharded one the file in it, of another one itself."""
    return path / GENERAL if is_sharded(path) else path


def bytes_of(path: Path) -> int:
    """Return the size of a checkpoint, of a file or of all files in its directory."""
    return sum(file.stat().st_size for file in path.iterdir()) if path.is_dir() else path.stat().st_size


def digest(path: Path) -> Digest:
    """Return the digest of a file on the disk."""
    with open(path, "rb") as file:
        return Digest(os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest())


def write_manifest(directory: Path, files: Mapping[str, Digest], disk: Disk) -> None:
    """Write the manifest of a directory durably."""
    entries = {"format": _FORMAT, "version": _VERSION, "files": {name: asdict(one) for name, one in files.items()}}
    text = json.dumps(entries, indent=1).encode()
    write_durably(directory / MANIFEST, lambda file: file.write(text), disk)


def read_manifest(directory: Path) -> Mapping[str, Digest]:
    """Return the files of a sharded checkpoint, by name; each is there, with its size.

    Raises:
        CheckpointMissing: the directory has just been pruned.
        CheckpointDamaged: the manifest is malformed, or a file is missing or has another size.
        CheckpointRefused: a newer version wrote it, a file is a link, or there is a shard that it does not list.
    """
    try:
        entries = read_entries(directory / MANIFEST)
    except FileNotFoundError as error:
        raise CheckpointMissing(f"there is no checkpoint at {directory}") from error
    except (Malformed, OSError) as error:
        raise damaged(directory, f"its {MANIFEST}: {error}") from error
    version = entries.get("version")
    if entries.get("format") != _FORMAT or type(version) is not int or version < 1:
        raise damaged(directory, f"its {MANIFEST} is not one of a sharded checkpoint")
    if version > _VERSION:
        raise CheckpointRefused(f"{directory} was written by a newer version of this program; update this program")
    files = _files(directory, entries.get("files"))
    _check_listing(directory, files)
    return files


def _files(directory: Path, entries: Any) -> dict[str, Digest]:
    if not isinstance(entries, dict) or GENERAL not in entries:
        raise damaged(directory, f"its {MANIFEST} lists no {GENERAL}")
    if len(entries) > MOST_FILES:
        raise damaged(directory, f"its {MANIFEST} lists more than {MOST_FILES} files")
    for name, entry in entries.items():
        named = name == GENERAL or _NAME.fullmatch(name)
        fine = isinstance(entry, dict) and entry.keys() == {"bytes", "sha256"}
        if not (named and fine and type(entry["bytes"]) is int and _DIGEST.fullmatch(str(entry["sha256"]))):
            raise damaged(directory, f"its {MANIFEST} lists {name[:60]!r} in another way than it was written")
    return {name: Digest(**entry) for name, entry in entries.items()}


def _check_listing(directory: Path, files: Mapping[str, Digest]) -> None:
    for name, wanted in files.items():
        try:
            status = (directory / name).lstat()
        except OSError as error:
            raise damaged(directory, f"it lacks {name}") from error
        if not stat.S_ISREG(status.st_mode):
            raise CheckpointRefused(
                f"{directory} is refused: its {name} is a link or no file; put the file in its place"
            )
        if status.st_size != wanted.bytes:
            raise damaged(directory, f"its {name} has {status.st_size} bytes, not the {wanted.bytes} that were written")
    shards = {path.name for path in directory.iterdir() if path.suffix == ENDING}
    if unlisted := sorted(shards - files.keys()):
        raise CheckpointRefused(f"{directory} has a shard that its {MANIFEST} does not list: {unlisted[0][:100]!r}")


def damaged(directory: Path, how: str) -> CheckpointDamaged:
    """Return the error for a directory that is not what was written."""
    return CheckpointDamaged(
        f"{directory} is damaged ({how}); take another checkpoint of the run, or name the run's directory to go on "
        "from its newest valid one"
    )
