"""List what a file holds, without torch: every tensor with its shape and size, every plain value."""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from runner.checkpoint.archive.safetensors_header import ENDING, opened_weights
from runner.checkpoint.inert import TensorFacts
from runner.checkpoint.reader.entries import SUFFIX, check_if_ours
from runner.checkpoint.reader.header import verified_structure
from runner.checkpoint.reader.tree import leaves
from runner.checkpoint.sharded.manifest import bytes_of
from runner.checkpoint.sharded.opening import opened_checkpoint


class Kind(Enum):
    """The kind of a file."""

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
        """The number of elements of all tensors."""
        return sum(tensor.elements for tensor in self.tensors)

    @property
    def size(self) -> int:
        """Bytes of all storages, shared ones counted once."""
        stored = {storage.key: storage.size for tensor in self.tensors for storage in tensor.storages}
        return sum(stored.values())


@dataclass(frozen=True)
class Contents:
    """What a file holds."""

    path: Path
    kind: Kind
    size: int
    """Bytes of the file, or of all files of a sharded checkpoint."""
    states: dict[str, State]
    """By entry name; the name is empty where the file itself is a state_dict."""
    entries: dict[str, Any] = field(default_factory=dict)
    """Everything but the states: epoch, metrics, config..."""

    @property
    def whole(self) -> State:
        """The leaves of all states."""
        return State([leaf for state in self.states.values() for leaf in state.leaves])


def read_contents(path: Path) -> Contents:
    """Return what a file holds after checking every byte; nothing in it is built or run.

    Raises:
        CheckpointMissing, CheckpointDamaged, CheckpointRefused: see `archive.verify.opened` and `header.structure_of`.
    """
    if path.suffix == ENDING:
        with opened_weights(path) as weights:
            entries = {"metadata": weights.metadata} if weights.metadata else {}
            leaves_ = [(name, facts) for name, (_, facts) in weights.tensors.items()]
            return Contents(path, Kind.safetensors, path.stat().st_size, {"": State(leaves_)}, entries)
    with opened_checkpoint(path) as archive:
        return _sorted_out(path, verified_structure(archive).content)


def _state(value: Any) -> State:
    return State(list(leaves(value)))


def _sorted_out(path: Path, content: Any) -> Contents:
    size = bytes_of(path)
    if not isinstance(content, dict):
        return Contents(path, Kind.other, size, {"": _state(content)})
    if check_if_ours(path, content):
        kind = Kind.ours
    elif any(isinstance(value, TensorFacts) for value in content.values()):
        return Contents(path, Kind.state_dict, size, {"": _state(content)})
    else:
        kind = Kind.general if any(_is_state(name, value) for name, value in content.items()) else Kind.other
    states = {name: _state(value) for name, value in content.items() if _is_state(name, value)}
    rest = {name: value for name, value in content.items() if name not in states}
    return Contents(path, kind, size, states, rest)


def _is_state(name: Any, value: Any) -> bool:
    if not isinstance(name, str):
        return False
    named = name.endswith(SUFFIX) or name in ("state_dict", "model", "optimizer")
    return isinstance(value, dict) and (named or any(isinstance(item, TensorFacts) for item in value.values()))
