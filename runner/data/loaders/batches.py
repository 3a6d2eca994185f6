"""A batch: the collated samples of one step, and their number, counted from the indices."""

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

_MOST = 8  # parts of a sample that a message shows
_Change = Callable[[Any], Any]


class Shard(NamedTuple):
    """The position of one worker in its share of a stream, within an epoch."""

    state: bytes | None = None
    """The stream's pickled `state_dict()` after the last consumed sample; None before the first."""
    samples: int = 0
    """The number of samples consumed."""
    ended: bool = False


class StreamPoint(NamedTuple):
    """A position between two batches of a stream."""

    shards: tuple[Shard, ...]
    """One per worker."""
    turn: int = 0
    """The shard that delivers the next batch."""


@dataclasses.dataclass(frozen=True, slots=True)
class Batch:
    """The collated samples of one step, in micro-batches: any containers of tensors."""

    parts: tuple[Any, ...]
    """The micro-batches."""
    counts: tuple[int, ...]
    """The number of samples in each; 0 for a stand-in, which this process has no sample of."""
    ends_epoch: bool = False
    after: StreamPoint | None = None
    """The position after this batch, if it comes from a stream."""
    elsewhere: int = 0
    """The number of the step's samples in other processes."""

    @property
    def size(self) -> int:
        """The number of samples of the step, in all processes."""
        return self.here + self.elsewhere

    @property
    def here(self) -> int:
        """The number of samples in this process."""
        return sum(self.counts)

    @property
    def whole(self) -> Any:
        """The only micro-batch of an undivided batch."""
        (part,) = self.parts
        return part

    def micro_batches(self) -> Iterator[tuple[Any, float]]:
        """Yield each micro-batch with its share of the step's samples."""
        size = self.size
        return ((part, count / size) for part, count in zip(self.parts, self.counts, strict=True))

    def pin_memory(self) -> "Batch":
        """Return the batch in pinned memory; torch's loader calls this."""
        return dataclasses.replace(self, parts=tuple(_changed(part, _pinned) for part in self.parts))


def form_of(thing: Any) -> str:
    """Return the types and tensor shapes of a sample or a batch, for a message."""
    if isinstance(thing, Mapping):
        return f"{{{', '.join(f'{key!r}: {form_of(value)}' for key, value in list(thing.items())[:_MOST])}}}"
    if isinstance(thing, (tuple, list)):
        inner = ", ".join(map(form_of, thing[:_MOST]))
        return f"[{inner}]" if isinstance(thing, list) else f"({inner})"
    if hasattr(thing, "shape") and hasattr(thing, "dtype"):
        return f"{thing.dtype} {tuple(thing.shape)}".removeprefix("torch.")
    return "None" if thing is None else type(thing).__name__


def move(batch: Any, device: torch.device) -> Any:
    """Return a micro-batch on `device`; an object with a method `to`, such as a graph, moves itself."""

    def moved(leaf: Any) -> Any:
        if isinstance(leaf, Tensor):
            return leaf.to(device, non_blocking=True)
        return leaf.to(device) if callable(getattr(leaf, "to", None)) else leaf

    return _changed(batch, moved)


def in_channels_last(batch: Any) -> Any:
    """Return a batch whose tensors of 4 dimensions are in `torch.channels_last` memory format, with equal values."""
    return _changed(batch, _channels_last)


def _channels_last(leaf: Any) -> Any:
    images = isinstance(leaf, Tensor) and leaf.dim() == 4 and leaf.layout is torch.strided
    return leaf.contiguous(memory_format=torch.channels_last) if images else leaf


def _pinned(leaf: Any) -> Any:
    return leaf.pin_memory() if callable(getattr(leaf, "pin_memory", None)) else leaf


def tensors_of(batch: Any) -> Iterator[Tensor]:
    """Yield the tensors of a micro-batch, in their order."""
    found: list[Tensor] = []
    _changed(batch, lambda leaf: found.append(leaf) if isinstance(leaf, Tensor) else leaf)
    yield from found


def _changed(batch: Any, change: _Change) -> Any:
    """Apply `change` to every leaf of nested mappings, dataclasses, tuples and lists."""
    if isinstance(batch, Tensor):
        return change(batch)
    if isinstance(batch, Mapping):
        return _refilled(batch, {key: _changed(value, change) for key, value in batch.items()})
    if isinstance(batch, (tuple, list)) and not _moves_itself(batch):
        values = [_changed(value, change) for value in batch]
        return type(batch)(*values) if hasattr(batch, "_fields") else type(batch)(values)
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type) and not _moves_itself(batch):
        made = copy.copy(batch)
        for field in dataclasses.fields(batch):
            object.__setattr__(made, field.name, _changed(getattr(batch, field.name), change))
        return made
    return change(batch)


def _moves_itself(batch: Any) -> bool:
    """Return whether a container has a method `to`, as torch's packed sequences do."""
    return callable(getattr(batch, "to", None))


def _refilled(batch: Mapping[Any, Any], values: dict[Any, Any]) -> Any:
    """Return a copy of a mapping with these values, keeping its type and attributes (as tokenizers' have)."""
    if type(batch) is dict:
        return values
    made: Any = copy.copy(batch)
    if not hasattr(made, "__setitem__"):
        return values
    for key, value in values.items():
        made[key] = value
    return made
