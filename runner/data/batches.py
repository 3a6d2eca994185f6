"""Batches as nested tuples, lists and dicts of tensors: split, counted, moved."""

from typing import Any

import torch
from torch import Tensor


def micro_batches(batch: Any, count: int) -> list[tuple[Any, float]]:
    """Return the batch in at most `count` pieces along the first dimension, each with its share of the samples."""
    if count == 1:
        return [(batch, 1.0)]
    whole = batch_length(batch)
    pieces = len(torch.empty(whole).chunk(count))
    parts = [_piece(batch, count, index) for index in range(pieces)]
    return [(part, batch_length(part) / whole) for part in parts]


def _piece(batch: Any, count: int, index: int) -> Any:
    if isinstance(batch, Tensor):
        return batch.chunk(count)[index]
    if isinstance(batch, dict):
        return {key: _piece(value, count, index) for key, value in batch.items()}
    return type(batch)(_piece(value, count, index) for value in batch)


def batch_length(batch: Any) -> int:
    """Return the number of samples: the first dimension of the first tensor."""
    while not isinstance(batch, Tensor):
        batch = next(iter(batch.values())) if isinstance(batch, dict) else batch[0]
    return len(batch)


def move(batch: Any, device: torch.device) -> Any:
    """Return the batch on `device`."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {key: move(value, device) for key, value in batch.items()}
    return type(batch)(move(value, device) for value in batch)
