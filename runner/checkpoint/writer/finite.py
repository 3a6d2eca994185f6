"""Find NaN and infinity in a state before it is written."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from runner.checkpoint.reader.tree import leaves

_PIECE = 32_000  # elements; from 32,768 on torch uses more threads, which training needs
_ALWAYS_FINITE = getattr(torch, "float4_e2m1fn_x2", None)  # it cannot represent NaN or infinity
_MEASURED = ("progress_state_dict",)  # metrics, which may be infinite without harm


def non_finite(entries: Mapping[str, Any], taken: Callable[[Tensor], Tensor] = lambda live: live) -> frozenset[str]:
    """Return the places of floating tensors that hold NaN or infinity, such as `model_state_dict.fc1.weight`.

    `taken` returns the copy to look at for each tensor.
    """
    states = {name: value for name, value in entries.items() if name not in _MEASURED}
    floating = (
        (place, value) for place, value in leaves(states) if isinstance(value, Tensor) and _may_be_spoilt(value)
    )
    return frozenset(place for place, tensor in floating if not _is_finite(taken(tensor)))


def _may_be_spoilt(tensor: Tensor) -> bool:
    return (tensor.is_floating_point() or tensor.is_complex()) and tensor.dtype is not _ALWAYS_FINITE


def _is_finite(tensor: Tensor) -> bool:
    """Check sums first, since NaN and infinity survive a sum; check the elements where a finite sum overflowed."""
    pieces = map(_summable, _pieces(_numbers(tensor)))
    return all(math.isfinite(float(piece.sum())) or bool(torch.isfinite(piece).all()) for piece in pieces)


def _numbers(tensor: Tensor) -> Tensor:
    """Return the stored values of a dense or sparse tensor as real numbers."""
    if tensor.layout is not torch.strided:
        tensor = tensor._values() if tensor.layout is torch.sparse_coo else tensor.values()
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


def _summable(piece: Tensor) -> Tensor:
    return piece.float() if piece.element_size() == 1 else piece  # torch has no sum of 8 bits


def _pieces(tensor: Tensor) -> tuple[Tensor, ...]:
    """Return the elements as flat pieces, in memory order if the storage has no gaps."""
    if tensor.numel() <= _PIECE:
        return (tensor,)
    dense = tensor.numel() * tensor.element_size() == tensor.untyped_storage().nbytes()
    flat = tensor.as_strided((tensor.numel(),), (1,), 0) if dense else tensor.reshape(-1)
    return torch.split(flat, _PIECE)
