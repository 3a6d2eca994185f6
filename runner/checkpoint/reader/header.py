"""What a checkpoint says of itself (config, step, metrics), read without torch and without its tensors."""

from pathlib import Path
from typing import Any

from runner.checkpoint.archive.foreign import code_inside
from runner.checkpoint.archive.verify import Archive, opened
from runner.checkpoint.reader.inert import Inert
from runner.checkpoint.reader.machine import Foreign, Unreasonable
from runner.checkpoint.reader.schema import FORMAT, check_if_ours
from runner.checkpoint.reader.structure import Structure, read_structure
from runner.checkpoint.reader.summary import MEMBER, summary
from runner.errors import CheckpointDamaged, CheckpointRefused
from runner.text import printable

__all__ = ["Inert", "holds_code", "read_header", "structure_of", "verified_header", "verified_structure"]

LARGEST = 64 << 20  # bytes of the pickled structure; the tensors are not part of it
_STRUCTURE = "data.pkl"


def read_header(path: Path) -> dict[str, Any]:
    """Return the entries of a checkpoint with every tensor and object replaced by an inert stand-in.

    Whatever class or function the file names, none is imported and none is called. Every byte of the entries
    is checked, those of the tensors are not.

    Raises:
        CheckpointMissing, CheckpointDamaged, CheckpointRefused: see `structure_of`; also refused is what is
            no dictionary, or one of this program's with an entry that no run has.
    """
    with opened(path) as archive:
        return _entries(path, structure_of(archive))


def verified_header(path: Path) -> dict[str, Any]:
    """Return the entries of a checkpoint as `read_header` does, after every byte of the file was checked.

    Raises:
        CheckpointMissing, CheckpointDamaged, CheckpointRefused: as `read_header`.
    """
    with opened(path) as archive:
        return _entries(path, verified_structure(archive))


def structure_of(archive: Archive) -> Structure:
    """Return the structure of what `torch.save` wrote, whatever it is, which every reader takes or none.

    Raises:
        CheckpointDamaged: it cannot be read, or has not the bytes for a tensor.
        CheckpointRefused: it is unreasonably large, or holds more than tensors and plain values.
    """
    path, size = archive.path, archive.members[_STRUCTURE].size
    if size > LARGEST:
        raise CheckpointRefused(f"{path} describes itself in {size} bytes, which is too many")
    pickled = archive.read(_STRUCTURE)
    try:
        structure = read_structure(pickled, len(archive.members), _byte_order(archive))
    except Foreign as error:
        raise code_inside(path, f" ({printable(str(error))})") from None
    except Unreasonable as error:
        raise CheckpointRefused(f"{path} is refused: {error}") from error
    except Exception as error:
        raise CheckpointDamaged(f"{path} cannot be read as a checkpoint ({printable(str(error)[:200])})") from error
    _check_stored(archive, structure)
    _check_summary(archive, structure.content)
    return structure


def holds_code(path: Path) -> bool:
    """Return whether a file of torch's names classes or functions of somebody's, as a whole module does; none is run.

    Raises:
        CheckpointMissing, CheckpointDamaged, CheckpointRefused: see `opened`.
    """
    with opened(path) as archive:
        try:
            structure_of(archive)
        except CheckpointRefused as error:
            return isinstance(error.__context__, Foreign)
    return False


def verified_structure(archive: Archive) -> Structure:
    """Return the structure after every byte of the file was checked, and what only the values of a tensor can tell.

    Raises:
        CheckpointDamaged, CheckpointRefused: see `structure_of`.
        ValueError: something is not as it was written.
    """
    structure = structure_of(archive)
    archive.check()
    if structure.odd:  # for these few torch is needed
        from runner.checkpoint.reader.building import check_odd

        check_odd(archive, structure)
    return structure


def _byte_order(archive: Archive) -> str:
    """Return the order of the bytes of every number in the file, which is little where nothing is said."""
    order = archive.read("byteorder").decode("ascii") if "byteorder" in archive.members else "little"
    if order not in ("little", "big"):
        raise ValueError("its order of bytes is unknown")
    return order


def _check_stored(archive: Archive, structure: Structure) -> None:
    for key, storage in structure.storages.items():
        member = archive.members.get(f"data/{key}")
        if member is None or member.size != storage.size:
            raise CheckpointDamaged(
                f"{archive.path} is damaged (it has no {storage.size} bytes for the storage {printable(key[:60])!r})"
            )


def _check_summary(archive: Archive, content: Any) -> None:
    """Raise CheckpointDamaged if a checkpoint of ours says something else of itself than it holds."""
    if MEMBER in archive.members and isinstance(content, dict) and content.get("format") == FORMAT:
        check_if_ours(archive.path, content)
        if archive.members[MEMBER].size > LARGEST or archive.read(MEMBER) != summary(content):
            raise CheckpointDamaged(f"{archive.path} is damaged (its {MEMBER} is not of what it holds)")


def _entries(path: Path, structure: Structure) -> dict[str, Any]:
    if not isinstance(structure.content, dict):
        raise CheckpointRefused(f"{path} is not a general checkpoint: it holds no dictionary of named entries")
    check_if_ours(path, structure.content)
    return structure.content
