"""What a checkpoint says of itself (config, step, metrics), read without torch and without its tensors."""

import zipfile
from pathlib import Path
from typing import Any

from runner.checkpoint.foreign import code_inside
from runner.checkpoint.inert import Inert
from runner.checkpoint.structure import Structure, TooLarge, read_structure
from runner.errors import CheckpointDamaged, CheckpointMissing, CheckpointRefused

__all__ = ["Inert", "read_archive", "read_header"]

LARGEST = 64 << 20  # bytes of the pickled structure; the tensors are not part of it


def read_header(path: Path) -> dict[str, Any]:
    """Return the entries of a checkpoint with every tensor and object replaced by an inert stand-in.

    Whatever class or function the file names, none is imported and none is called. The integrity
    of the rest of the file is `integrity.verify`'s affair.

    Raises:
        CheckpointMissing: there is no such file.
        CheckpointDamaged: the structure cannot be read.
        CheckpointRefused: the structure is not a dictionary, or is unreasonably large.
    """
    structure, _ = read_archive(path)
    entries = structure.content
    if not isinstance(entries, dict):
        if structure.foreign:
            raise code_inside(path)
        raise CheckpointRefused(f"{path} is not a general checkpoint: it holds no dictionary of named entries")
    return entries


def read_archive(path: Path) -> tuple[Structure, dict[str, int]]:
    """Return the structure of what `torch.save` wrote, whatever it is, and the bytes stored for each tensor's key.

    Raises:
        CheckpointMissing, CheckpointDamaged, CheckpointRefused: as `read_header`, but for what is not a dictionary.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            member = next(m for m in members if m.filename.endswith("/data.pkl"))
            if member.file_size > LARGEST:
                raise CheckpointRefused(f"{path} describes itself in {member.file_size} bytes, which is too many")
            structure = read_structure(archive.read(member))
    except CheckpointRefused:
        raise
    except FileNotFoundError as error:
        raise CheckpointMissing(f"there is no checkpoint at {path}") from error
    except TooLarge as error:
        raise CheckpointRefused(f"{path} is refused: {error}") from error
    except Exception as error:
        raise CheckpointDamaged(f"{path} cannot be read as a checkpoint ({error})") from error
    folder = member.filename.removesuffix("data.pkl") + "data/"
    return structure, {m.filename.removeprefix(folder): m.file_size for m in members if m.filename.startswith(folder)}
