"""Whether a state may be written at all: weights that became NaN are no checkpoint to go on from."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

_MEASURED = ("progress_state_dict",)  # metrics, which may be infinite without harm


def non_finite(entries: Mapping[str, Any]) -> frozenset[str]:
    """Return the places of the floating tensors, such as `model_state_dict.fc1.weight`, that hold NaN or infinity."""
    states = {name: value for name, value in entries.items() if name not in _MEASURED}
    return frozenset(place for place, tensor in _tensors(states, "") if not _is_finite(tensor))


def _tensors(value: Any, place: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield place, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _tensors(inner, f"{place}.{key}" if place else str(key))
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from _tensors(inner, f"{place}[{index}]")


def _is_finite(tensor: Tensor) -> bool:
    """Look at the sum first, which NaN and infinity never leave; an overflow of its own is told apart."""
    return math.isfinite(float(tensor.sum())) or bool(torch.isfinite(tensor).all())
