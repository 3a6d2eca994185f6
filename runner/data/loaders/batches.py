"""Batches as nested tuples, lists and dicts of tensors: split, counted, moved."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from runner.errors import ConfigError

_MOST = 8  # parts of a sample that are told
_Change = Callable[[Any], Any]


def micro_batches(batch: Any, count: int) -> list[tuple[Any, float]]:
    """Return the batch in at most `count` pieces along the first dimension, each with its share of the samples."""
    if count == 1:
        return [(batch, 1.0)]
    whole = batch_length(batch)
    size = -(-whole // count)
    ends = [(start, min(start + size, whole)) for start in range(0, whole, size)]
    return [(_changed(batch, _cut(start, end)), (end - start) / whole) for start, end in ends]


def batch_length(batch: Any) -> int:
    """Return the number of samples: the first dimension of the first tensor; ConfigError if there is none."""
    for tensor in tensors_of(batch):
        if tensor.dim():
            return len(tensor)
    raise ConfigError(f"a batch must hold a tensor with a row a sample, and this is {form_of(batch)}; return tensors")


def form_of(thing: Any) -> str:
    """Return what a sample or a batch is made of, in a few words: types, and the shapes of tensors."""
    if isinstance(thing, dict):
        return f"{{{', '.join(f'{key!r}: {form_of(value)}' for key, value in list(thing.items())[:_MOST])}}}"
    if isinstance(thing, (tuple, list)):
        inner = ", ".join(map(form_of, thing[:_MOST]))
        return f"[{inner}]" if isinstance(thing, list) else f"({inner})"
    if hasattr(thing, "shape") and hasattr(thing, "dtype"):
        return f"{thing.dtype} {tuple(thing.shape)}".removeprefix("torch.")
    return "None" if thing is None else type(thing).__name__


def move(batch: Any, device: torch.device) -> Any:
    """Return the batch with its tensors on `device`."""

    def moved(leaf: Any) -> Any:
        return leaf.to(device, non_blocking=True) if isinstance(leaf, Tensor) else leaf

    return _changed(batch, moved)


def _cut(start: int, end: int) -> _Change:
    def cut(leaf: Any) -> Any:
        return leaf[start:end] if isinstance(leaf, (Tensor, tuple, list)) else leaf

    return cut


def tensors_of(batch: Any) -> Iterator[Tensor]:
    """Yield the tensors of a batch, in their order."""
    if isinstance(batch, Tensor):
        yield batch
    elif isinstance(batch, (dict, tuple, list)):
        for value in batch.values() if isinstance(batch, dict) else batch:
            yield from tensors_of(value)


def _changed(batch: Any, change: _Change) -> Any:
    """Return the same nest with every leaf changed; a list of plain values, such as names, is one leaf."""
    if isinstance(batch, dict):
        return {key: _changed(value, change) for key, value in batch.items()}
    if not isinstance(batch, (tuple, list)) or not any(isinstance(v, (Tensor, dict, tuple, list)) for v in batch):
        return change(batch)
    values = [_changed(value, change) for value in batch]
    return type(batch)(*values) if hasattr(batch, "_fields") else type(batch)(values)
