"""Entries of several forms, one per sample, as arrays: no pickles, and nothing padded."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy
from torch import Tensor


def column_of(entries: Sequence[Any]) -> Any:
    """Return strings, or numbers, as an array (samples,); None for other entries."""
    if all(isinstance(entry, str) for entry in entries) or all(isinstance(entry, int | float) for entry in entries):
        return numpy.array(entries)
    return None


def arrays_of(name: str, entries: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """Yield the arrays that hold an output's entries; nothing for entries that no array holds.

    Tensors of n dimensions are `name_values`, flat, `name_offsets` (samples + 1,) and `name_shapes` (samples, n): entry
    i is `values[offsets[i]:offsets[i + 1]].reshape(shapes[i])`. A dictionary with the same keys in each sample is an
    output `name_key` per key.
    """
    column = column_of(entries)
    if column is not None:
        yield name, column
    elif all(isinstance(entry, Tensor) for entry in entries) and len({entry.dim() for entry in entries}) == 1:
        sizes = [entry.numel() for entry in entries]
        yield f"{name}_values", numpy.concatenate([entry.numpy().reshape(-1) for entry in entries])
        yield f"{name}_offsets", numpy.cumsum([0, *sizes])
        yield f"{name}_shapes", numpy.array([tuple(entry.shape) for entry in entries]).reshape(len(entries), -1)
    elif all(isinstance(entry, Mapping) and entry.keys() == entries[0].keys() for entry in entries):
        found = [list(arrays_of(f"{name}_{key}", [entry[key] for entry in entries])) for key in entries[0]]
        if all(found):
            yield from (array for arrays in found for array in arrays)


def listed(entry: Any) -> Any:
    """Return an entry for JSON: tensors as lists."""
    if isinstance(entry, Tensor):
        return entry.tolist()
    if isinstance(entry, Mapping):
        return {key: listed(value) for key, value in entry.items()}
    return [listed(value) for value in entry] if isinstance(entry, list) else entry
