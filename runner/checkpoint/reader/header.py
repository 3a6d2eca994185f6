"""Read the header of a checkpoint (config, step, metrics), without torch and without its tensors."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from runner.checkpoint.archive.foreign import code_inside
from runner.checkpoint.archive.verify import Archive
from runner.checkpoint.inert import Inert
from runner.checkpoint.reader.entries import FORMAT, check_if_ours
from runner.checkpoint.reader.pickle_machine import Foreign, Unreasonable
from runner.checkpoint.reader.structure import Structure, read_structure
from runner.checkpoint.reader.summary import MEMBER, summary
from runner.checkpoint.sharded.opening import ShardedArchive, opened_checkpoint
from runner.checkpoint.sharded.table import ENTRY, put_back
from runner.errors import CheckpointDamaged, CheckpointRefused
from runner.text import printable

__all__ = ["Inert", "holds_code", "read_header", "structure_of", "verified_header", "verified_structure"]

LARGEST = 64 << 20  # bytes of the pickled structure; the tensors are not part of it
_STRUCTURE = "data.pkl"


def read_header(path: Path) -> dict[str, Any]:
    """Return the entries of a checkpoint with every tensor and object replaced by an inert stand-in.

    Nothing that the file names is imported or called. The bytes of the entries are checked, those of tensors are not.

    Raises:
        CheckpointMissing, CheckpointDamaged, CheckpointRefused: see `structure_of`; also refused if the file holds
            no dictionary, or is a checkpoint of this program with an invalid entry.
    """
    with opened_checkpoint(path) as archive:
        return _entries(path, structure_of(archive))


def verified_header(path: Path) -> dict[str, Any]:
    """Return the entries of a checkpoint as `read_header` does, after checking every byte of the file.

    Raises:
        CheckpointMissing, CheckpointDamaged, CheckpointRefused: as `read_header`.
    """
    with opened_checkpoint(path) as archive:
        return _entries(path, verified_structure(archive))


def structure_of(archive: Archive) -> Structure:
    """Return the structure of whatever `torch.save` wrote; every reader goes through this check.

    Raises:
        CheckpointDamaged: it cannot be read, or lacks the bytes of a tensor.
        CheckpointRefused: it is unreasonably large, or holds more than tensors and plain values.
    """
    path, size = archive.path, archive.members[_STRUCTURE].size
    if size > LARGEST:
        raise CheckpointRefused(f"{path} is refused: its structure has {size} bytes, which is too many")
    pickled = archive.read(_STRUCTURE)
    try:
        structure = read_structure(pickled, len(archive.members), _byte_order(archive))
    except Foreign as error:
        raise code_inside(path, f" ({printable(str(error))})") from None
    except Unreasonable as error:
        raise CheckpointRefused(f"{path} is refused: {error}") from error
    except Exception as error:
        raise CheckpointDamaged(f"{path} cannot be read as a checkpoint ({printable(str(error)[:200])})") from error
    _check_summary(archive, structure.content)
    structure = _joined(archive, structure)
    _check_stored(archive, structure)
    return structure


def _joined(archive: Archive, structure: Structure) -> Structure:
    """Return the structure with the divided tensors of a sharded checkpoint in their places."""
    content = structure.content
    if isinstance(archive, ShardedArchive):
        if not isinstance(content, dict):
            raise ValueError("its general file holds no entries")
        divided = dict(put_back(content))
        for name, facts in divided.items():
            if archive.shards.kinds.get(name) != (facts.dtype, facts.shape):
                raise ValueError(f"its shards have another {name[:100]!r}")
        storages = {facts.storages[0].key: facts.storages[0] for facts in divided.values()}
        return replace(structure, storages={**structure.storages, **storages})
    if isinstance(content, dict) and content.get("format") == FORMAT and ENTRY in content:
        raise CheckpointRefused(
            f"{archive.path} is a part of a sharded checkpoint, whose other tensors are beside it; name the directory "
            f"{archive.path.parent}"
        )
    return structure


def holds_code(path: Path) -> bool:
    """Return whether a file of torch's names foreign classes or functions, as a whole module does; runs none.

    Raises:
        CheckpointMissing, CheckpointDamaged, CheckpointRefused: see `opened_checkpoint`.
    """
    with opened_checkpoint(path) as archive:
        try:
            structure_of(archive)
        except CheckpointRefused as error:
            return isinstance(error.__context__, Foreign)
    return False


def verified_structure(archive: Archive) -> Structure:
    """Return the structure after checking every byte of the file, and the values of sparse and quantized tensors.

    Raises:
        CheckpointDamaged, CheckpointRefused: see `structure_of`.
        ValueError: something is not as it was written.
    """
    structure = structure_of(archive)
    archive.check()
    if structure.odd:  # only these need torch
        from runner.checkpoint.reader.building import check_odd

        check_odd(archive, structure)
    return structure


def _byte_order(archive: Archive) -> str:
    """Return the byte order of the file, little where it gives none."""
    order = archive.read("byteorder").decode("ascii") if "byteorder" in archive.members else "little"
    if order not in ("little", "big"):
        raise ValueError("its byte order is unknown")
    return order


def _check_stored(archive: Archive, structure: Structure) -> None:
    for key, storage in structure.storages.items():
        member = archive.members.get(f"data/{key}")
        if member is None or member.size != storage.size:
            raise CheckpointDamaged(
                f"{archive.path} is damaged (it lacks the {storage.size} bytes of the storage {printable(key[:60])!r})"
            )


def _check_summary(archive: Archive, content: Any) -> None:
    """Raise CheckpointDamaged if the summary in a checkpoint of ours disagrees with its content."""
    if MEMBER in archive.members and isinstance(content, dict) and content.get("format") == FORMAT:
        check_if_ours(archive.path, content)
        if archive.members[MEMBER].size > LARGEST or archive.read(MEMBER) != summary(content):
            raise CheckpointDamaged(f"{archive.path} is damaged (its {MEMBER} disagrees with its content)")


def _entries(path: Path, structure: Structure) -> dict[str, Any]:
    if not isinstance(structure.content, dict):
        raise CheckpointRefused(f"{path} is not a general checkpoint: it is not a dictionary of named entries")
    check_if_ours(path, structure.content)
    return structure.content
