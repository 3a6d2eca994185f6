"""What a file holds, as facts: every tensor with its shape and size, every plain value; without torch."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from runner.checkpoint.foreign import code_inside
from runner.checkpoint.header import read_archive
from runner.checkpoint.inert import Storage, TensorFacts
from runner.checkpoint.integrity import verify
from runner.checkpoint.safetensors_header import ENDING, read_safetensors_header
from runner.checkpoint.schema import FORMAT, SUFFIX, check_schema, version_of
from runner.checkpoint.structure import Structure
from runner.checkpoint.tree import TooMany, budget, leaves
from runner.errors import CheckpointDamaged, CheckpointRefused
from runner.text import printable


class Kind(Enum):
    """What a file is."""

    ours = "general checkpoint"
    general = "general checkpoint of another program"
    state_dict = "state_dict"
    safetensors = "safetensors"
    other = "plain values"


@dataclass(frozen=True)
class State:
    """One state_dict: its leaves in the file's order, which is the order of the model."""

    leaves: list[tuple[str, Any]]

    @property
    def tensors(self) -> list[TensorFacts]:
        """The tensors among the leaves."""
        return [value for _, value in self.leaves if isinstance(value, TensorFacts)]

    @property
    def elements(self) -> int:
        """Elements of all tensors."""
        return sum(tensor.elements for tensor in self.tensors)

    @property
    def size(self) -> int:
        """Bytes of all storages, those that are shared counted once."""
        stored = {storage.key: storage.size for tensor in self.tensors for storage in tensor.storages}
        return sum(stored.values())


@dataclass(frozen=True)
class Contents:
    """What a file holds."""

    path: Path
    kind: Kind
    size: int
    """Bytes of the file."""
    states: dict[str, State]
    """By the name of the entry; that of a file that is a state_dict itself is empty."""
    entries: dict[str, Any] = field(default_factory=dict)
    """All that is no state: epoch, metrics, config..."""

    @property
    def whole(self) -> State:
        """The leaves of all states."""
        return State([leaf for state in self.states.values() for leaf in state.leaves])


def read_contents(path: Path) -> Contents:
    """Return what a file holds after every byte of it was checked; nothing in it is built or run.

    Raises:
        CheckpointMissing, CheckpointDamaged, CheckpointRefused: see `integrity.verify`; refused are also
            pickled code, claims of more than the file stores, and structures without end.
    """
    if path.suffix == ENDING:
        tensors, metadata = read_safetensors_header(path)
        entries = {"metadata": metadata} if metadata else {}
        return Contents(path, Kind.safetensors, path.stat().st_size, {"": State(list(tensors.items()))}, entries)
    verify(path)
    structure, stored = read_archive(path)
    _check_plain(path, structure)
    _check_stored(path, structure.storages, stored)
    try:
        contents = _sorted_out(path, structure.content)
    except TooMany as error:
        raise CheckpointRefused(f"{path} is refused: {error}") from error
    _check_claims(path, contents)
    return contents


def _check_plain(path: Path, structure: Structure) -> None:
    if structure.foreign:
        shown = ", ".join(printable(name[:60]) for name in structure.foreign[:3])
        raise code_inside(path, f" ({shown})")


def _check_stored(path: Path, storages: list[Storage], stored: dict[str, int]) -> None:
    for storage in storages:
        if stored.get(storage.key, -1) < storage.size:
            raise CheckpointDamaged(
                f"{path} is damaged (it has no {storage.size} bytes for the storage {printable(storage.key[:60])!r})"
            )


def _check_claims(path: Path, contents: Contents) -> None:
    for name, state in contents.states.items():
        for leaf, value in state.leaves:
            if isinstance(value, TensorFacts) and not value.fits:
                place = printable(".".join(filter(None, ("the file", name, leaf))))
                raise CheckpointRefused(f"{path} is refused: {place} claims more elements than the file stores")


def _is_tensor(value: Any) -> bool:
    return isinstance(value, TensorFacts)


def _state(value: Any, steps: Iterator[int]) -> State:
    return State(list(leaves(value, _is_tensor, steps)))


def _sorted_out(path: Path, content: Any) -> Contents:
    size, steps = path.stat().st_size, budget()
    if not isinstance(content, dict):
        return Contents(path, Kind.other, size, {"": _state(content, steps)})
    if content.get("format") == FORMAT:
        version_of(path, content)
        check_schema(path, content)
        kind = Kind.ours
    elif any(isinstance(value, TensorFacts) for value in content.values()):
        return Contents(path, Kind.state_dict, size, {"": _state(content, steps)})
    else:
        kind = Kind.general if any(_is_state(name, value) for name, value in content.items()) else Kind.other
    states = {name: _state(value, steps) for name, value in content.items() if _is_state(name, value)}
    rest = {name: value for name, value in content.items() if name not in states}
    return Contents(path, kind, size, states, rest)


def _is_state(name: Any, value: Any) -> bool:
    if not isinstance(name, str):
        return False
    named = name.endswith(SUFFIX) or name in ("state_dict", "model", "optimizer")
    return isinstance(value, dict) and (named or any(isinstance(item, TensorFacts) for item in value.values()))
