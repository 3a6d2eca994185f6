"""A checkpoint holds tensors and plain values only, or it is not written."""

import math
from collections import Counter, OrderedDict
from typing import Any

import torch

from runner.checkpoint.inert import Inert
from runner.checkpoint.tree import MOST_LEVELS, TooMany, budget, leaves
from runner.errors import Unsavable

_COPIED_LATER = ("cpu", "cuda")  # devices whose storages an image takes as they are
_WITHOUT_BYTES = {getattr(torch, f"{sign}int{bits}", None) for sign in ("", "u") for bits in range(1, 8)}
_PLAIN = (type(None), bool, int, float, str, bytes, torch.Size, torch.dtype, torch.device)


def plain_copy(value: Any, place: str, level: int = 1) -> Any:
    """Return `value` as any `torch.load(weights_only=True)` on any machine will read it back.

    Containers are copied; tensors are detached and share their memory. One that is a view of a
    larger storage is cut out of it, since the whole storage would be written, and an expanded one
    is written out, since `check_bounded` would refuse it.

    Raises:
        Unsavable: a value of another type; the message names its key path below `place`.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    if isinstance(value, torch.Tensor):
        return _compact(value, place)
    if level >= MOST_LEVELS:
        raise Unsavable(f"{place[:200]}... is nested deeper than {MOST_LEVELS} levels, which no reader would take")
    if kind in (list, tuple):
        return kind(plain_copy(item, f"{place}[{index}]", level + 1) for index, item in enumerate(value))
    if kind is set:
        return {_plain_key(item, place) for item in value}
    if kind in (dict, OrderedDict, Counter):
        return _plain_mapping(value, place, level + 1)
    raise Unsavable(
        f"{place} is a {kind.__module__}.{kind.__qualname__}, which a checkpoint of tensors and plain "
        "values cannot hold; let its state_dict return a tensor, a number, a string, a list or a dict"
    )


def _plain_mapping(value: Any, place: str, level: int) -> Any:
    copy = type(value)()
    for key, item in value.items():
        copy[_plain_key(key, place)] = plain_copy(item, f"{place}.{key}", level)
    if hasattr(value, "_metadata"):  # a module's version numbers, which its load_state_dict reads
        copy._metadata = plain_copy(value._metadata, f"{place}._metadata", level)
    return copy


def _plain_key(key: Any, place: str) -> Any:
    """Return a key of a dictionary, or an element of a set: a value that no tensor is in, since none is found there."""
    if isinstance(key, torch.Tensor) or (isinstance(key, tuple) and any(isinstance(k, torch.Tensor) for k in key)):
        raise Unsavable(f"{place} has a tensor as a key or in a set, which no reader would find again; use a name")
    return plain_copy(key, f"{place} (key {key!r})")


def _compact(tensor: torch.Tensor, place: str) -> torch.Tensor:
    if type(tensor).__torch_dispatch__ is not torch.Tensor.__torch_dispatch__:
        raise Unsavable(
            f"{place} is a {type(tensor).__qualname__}, whose parts lie elsewhere; let it return its values"
        )
    if tensor.is_meta or tensor.is_nested or tensor.dtype in _WITHOUT_BYTES:
        kind = "meta" if tensor.is_meta else "nested" if tensor.is_nested else tensor.dtype
        raise Unsavable(f"{place} is a {kind} tensor, whose values cannot be stored; let it return an ordinary one")
    tensor = tensor.detach()
    if tensor.layout is not torch.strided:
        return tensor.cpu().clone()
    tensor = tensor.as_subclass(torch.Tensor).resolve_conj().resolve_neg()
    if tensor.device.type not in _COPIED_LATER:
        tensor = tensor.cpu()
    return tensor.clone() if _bytes(tensor) != tensor.untyped_storage().nbytes() else tensor


def owned(value: Any) -> Any:
    """Return plain containers with a copy of every tensor, so that none shares its memory with a file."""
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, (list, tuple)):
        return type(value)(map(owned, value)) if type(value) in (list, tuple) else value
    if isinstance(value, dict):
        copy = value.copy()
        copy.update({key: owned(item) for key, item in value.items()})
        if hasattr(value, "_metadata"):
            copy._metadata = value._metadata  # type: ignore[attr-defined]
        return copy
    return value


def check_bounded(value: Any, place: str) -> str | None:
    """Return what is not to be believed of loaded content, None if nothing is.

    A file of a kilobyte can describe a tensor of many gigabytes by strides of zero, or a structure
    that no walk comes to the end of.
    """
    try:
        for name, item in leaves(value, torch.is_tensor, budget()):
            if isinstance(item, Inert):
                return f"{place} is nested too deeply"
            if isinstance(item, torch.Tensor) and _is_giant(item):
                dotted = name if name.startswith("[") or not name else f".{name}"
                return f"{place}{dotted} claims more elements than the file stores"
    except TooMany as error:
        return str(error)
    return None


def _is_giant(tensor: torch.Tensor) -> bool:
    return tensor.layout is torch.strided and _bytes(tensor) > tensor.untyped_storage().nbytes()


def _bytes(tensor: torch.Tensor) -> int:
    return math.prod(tensor.shape) * tensor.element_size()
