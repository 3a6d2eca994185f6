"""Reduce a state to tensors and plain values, or refuse to save it."""

import math
from typing import Any

import torch

from runner.checkpoint.reader.pickle_machine import is_metadata
from runner.checkpoint.reader.tree import MOST_LEVELS
from runner.errors import Unsavable
from runner.stateful import MAPPINGS

_COPIED_LATER = ("cpu", "cuda")  # devices whose storages an image copies itself
_WITHOUT_BYTES = {getattr(torch, f"{sign}int{bits}", None) for sign in ("", "u") for bits in range(1, 8)}
_PLAIN = (type(None), bool, int, float, str, bytes, torch.Size, torch.dtype, torch.device)

_TOO_MANY_BITS = 8 * 255


def plain_copy(value: Any, place: str, level: int = 1) -> Any:
    """Return `value` in a form that `torch.load(weights_only=True)` reads on any machine.

    Containers are copied; tensors are detached and share their memory. A view of a larger storage is copied, since
    torch would write the whole storage; so is an expanded tensor, which a reader would refuse.

    Raises:
        Unsavable: a value has another type; the message names its key path below `place`.
    """
    kind = type(value)
    if kind in _PLAIN:
        _check_readable(value, place)
        return value
    if isinstance(value, torch.Tensor):
        return _compact(value, place)
    if level >= MOST_LEVELS:
        raise Unsavable(f"{place[:200]}... is nested deeper than {MOST_LEVELS} levels, which cannot be read again")
    if kind in (list, tuple):
        return kind(plain_copy(item, f"{place}[{index}]", level + 1) for index, item in enumerate(value))
    if kind is set:
        return {_plain_key(item, place) for item in value}
    if kind in MAPPINGS:
        return _plain_mapping(value, place, level + 1)
    raise Unsavable(
        f"{place} is a {kind.__module__}.{kind.__qualname__}, but a checkpoint holds only tensors and plain "
        "values; let its state_dict return a tensor, a number, a string, a list or a dict"
    )


def _plain_mapping(value: Any, place: str, level: int) -> Any:
    copy = type(value)()
    for key, item in value.items():
        copy[_plain_key(key, place)] = plain_copy(item, f"{place}.{key}", level)
    if hasattr(value, "_metadata"):  # a module's versions, for its load_state_dict
        if not is_metadata(value._metadata):
            raise Unsavable(f"{place}._metadata is not like a module's: plain values by name, for each module")
        copy._metadata = plain_copy(value._metadata, f"{place}._metadata", level)
    return copy


def _check_readable(value: Any, place: str) -> None:
    """Refuse what `torch.load(weights_only=True)` cannot read: integers of 255 bytes or more, and empty bytes."""
    if type(value) is int and value.bit_length() >= _TOO_MANY_BITS:
        raise Unsavable(
            f"{place} is an integer of {value.bit_length()} bits, which torch.load refuses; make it a string"
        )
    if value == b"" and type(value) is bytes:
        raise Unsavable(f"{place} is an empty bytes, which torch.load refuses; let it return None or a string")


def _plain_key(key: Any, place: str) -> Any:
    """Return a key of a dictionary, or an element of a set; refuse one that is or holds a tensor."""
    if isinstance(key, torch.Tensor) or (isinstance(key, tuple) and any(isinstance(k, torch.Tensor) for k in key)):
        raise Unsavable(f"{place} has a tensor as a key or in a set, which cannot be looked up again; use a name")
    copy = plain_copy(key, f"{place} (key {key!r})")
    if isinstance(key, tuple) and (len(key) > 8 or any(isinstance(item, tuple) for item in key)):
        raise Unsavable(f"{place} has the key {key!r:.100}, which cannot be read again; use at most 8 plain values")
    return copy


def _compact(tensor: torch.Tensor, place: str) -> torch.Tensor:
    if type(tensor).__torch_dispatch__ is not torch.Tensor.__torch_dispatch__:
        raise Unsavable(
            f"{place} is a {type(tensor).__qualname__}, whose values are stored elsewhere; let it return its values"
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
