"""A checkpoint holds tensors and plain values only, or it is not written."""

import math
from collections import Counter, OrderedDict
from typing import Any

import torch

from runner.checkpoint.reader.machine import is_metadata
from runner.checkpoint.reader.tree import MOST_LEVELS
from runner.errors import Unsavable

_COPIED_LATER = ("cpu", "cuda")  # devices whose storages an image takes as they are
_WITHOUT_BYTES = {getattr(torch, f"{sign}int{bits}", None) for sign in ("", "u") for bits in range(1, 8)}
_PLAIN = (type(None), bool, int, float, str, bytes, torch.Size, torch.dtype, torch.device)

_TOO_MANY_BITS = 8 * 255


def plain_copy(value: Any, place: str, level: int = 1) -> Any:
    """Return `value` as any `torch.load(weights_only=True)` on any machine will read it back.

    Containers are copied; tensors are detached and share their memory. One that is a view of a
    larger storage is cut out of it, since the whole storage would be written, and an expanded one
    is written out, since a reader would refuse it.

    Raises:
        Unsavable: a value of another type; the message names its key path below `place`.
    """
    kind = type(value)
    if kind in _PLAIN:
        _check_readable(value, place)
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
        if not is_metadata(value._metadata):
            raise Unsavable(f"{place}._metadata is not what a module's state_dict has: plain values by name, by module")
        copy._metadata = plain_copy(value._metadata, f"{place}._metadata", level)
    return copy


def _check_readable(value: Any, place: str) -> None:
    """`torch.load(weights_only=True)` knows no opcode for such numbers, nor the call that stands for no bytes."""
    if type(value) is int and value.bit_length() >= _TOO_MANY_BITS:
        raise Unsavable(f"{place} is a number of {value.bit_length()} bits, which torch.load refuses; make it a string")
    if value == b"" and type(value) is bytes:
        raise Unsavable(f"{place} is an empty bytes, which torch.load refuses; let it return None or a string")


def _plain_key(key: Any, place: str) -> Any:
    """Return a key of a dictionary, or an element of a set: a value that no tensor is in, since none is found there."""
    if isinstance(key, torch.Tensor) or (isinstance(key, tuple) and any(isinstance(k, torch.Tensor) for k in key)):
        raise Unsavable(f"{place} has a tensor as a key or in a set, which no reader would find again; use a name")
    copy = plain_copy(key, f"{place} (key {key!r})")
    if isinstance(key, tuple) and (len(key) > 8 or any(isinstance(item, tuple) for item in key)):
        raise Unsavable(f"{place} has the key {key!r:.100}, which no reader would take; use at most 8 plain values")
    return copy


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


def _bytes(tensor: torch.Tensor) -> int:
    return math.prod(tensor.shape) * tensor.element_size()
