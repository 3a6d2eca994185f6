"""Whether a state may be written at all: weights that became NaN are no checkpoint to go on from."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from runner.checkpoint.reader.tree import leaves

_PIECE = 32_000  # elements; from 32,768 on torch would take further threads, which belong to the training
_ALWAYS_FINITE = getattr(torch, "float4_e2m1fn_x2", None)  # it has no bits for anything else
_MEASURED = ("progress_state_dict",)  # metrics, which may be infinite without harm


def non_finite(entries: Mapping[str, Any], taken: Callable[[Tensor], Tensor] = lambda live: live) -> frozenset[str]:
    """Return the places of the floating tensors, such as `model_state_dict.fc1.weight`, that hold NaN or infinity.

    What is looked at is what `taken` returns for each tensor.
    """
    states = {name: value for name, value in entries.items() if name not in _MEASURED}
    floating = (
        (place, value) for place, value in leaves(states) if isinstance(value, Tensor) and _may_be_spoilt(value)
    )
    return frozenset(place for place, tensor in floating if not _is_finite(taken(tensor)))


def _may_be_spoilt(tensor: Tensor) -> bool:
    return (tensor.is_floating_point() or tensor.is_complex()) and tensor.dtype is not _ALWAYS_FINITE


def _is_finite(tensor: Tensor) -> bool:
    """Look at sums first, which NaN and infinity never leave; an overflow of their own is told apart."""
    pieces = map(_summable, _pieces(_numbers(tensor)))
    return all(math.isfinite(float(piece.sum())) or bool(torch.isfinite(piece).all()) for piece in pieces)


def _numbers(tensor: Tensor) -> Tensor:
    """Return the real numbers that a tensor stores, be it sparse or complex."""
    if tensor.layout is not torch.strided:
        tensor = tensor._values() if tensor.layout is torch.sparse_coo else tensor.values()
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


def _summable(piece: Tensor) -> Tensor:
    return piece.float() if piece.element_size() == 1 else piece  # torch has no sum of 8 bits


def _pieces(tensor: Tensor) -> tuple[Tensor, ...]:
    """Return the elements in one dimension, in pieces: as they lie in memory where that has no gaps."""
    if tensor.numel() <= _PIECE:
        return (tensor,)
    dense = tensor.numel() * tensor.element_size() == tensor.untyped_storage().nbytes()
    flat = tensor.as_strided((tensor.numel(),), (1,), 0) if dense else tensor.reshape(-1)
    return torch.split(flat, _PIECE)
