"""Pickle the structure of a checkpoint as `torch.save` does: tensors refer to their storages."""

import copyreg
import io
import pickle
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.storage import TypedStorage, UntypedStorage

_PROTOCOL = 2  # torch's
_KINDS = {
    dtype: f"{name}Storage"
    for dtype, name in {
        torch.float64: "Double", torch.float32: "Float", torch.float16: "Half", torch.bfloat16: "BFloat16",
        torch.int64: "Long", torch.int32: "Int", torch.int16: "Short", torch.int8: "Char", torch.uint8: "Byte",
        torch.bool: "Bool",
    }.items()
}  # fmt: skip


def storages(value: Any) -> Iterator[UntypedStorage]:
    """Yield the storage of every tensor inside plain containers; a shared one once for each use."""
    # Training waits for this walk at each save; `leaves`, which makes names, takes twice as long.
    if isinstance(value, Tensor):
        simple = value.layout is torch.strided and not value.is_quantized
        yield from (value.untyped_storage(),) if simple else _parts(value)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from storages(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from storages(item)
    elif isinstance(value, TypedStorage):
        yield value._untyped_storage


def _parts(tensor: Tensor) -> Iterator[UntypedStorage]:
    """Yield the storages of a sparse or quantized tensor."""
    _, arguments = tensor.__reduce_ex__(_PROTOCOL)  # type: ignore[no-untyped-call]
    return storages(arguments)


def size_of(value: Any) -> int:
    """Return the bytes of all tensors inside plain containers, shared storages counted once."""
    return sum({identity(storage): storage.nbytes() for storage in storages(value)}.values())


def identity(storage: UntypedStorage) -> int:
    """Return the same number for every Python object of one storage."""
    return int(storage._cdata)


def pickled(content: Any, keys: Mapping[int, int]) -> bytes:
    """Return the bytes of `data.pkl`; `keys` gives the number of each storage by its identity.

    Tensor values are not read, and every storage is declared to be on the CPU.
    """
    buffer = io.BytesIO()
    _Pickler(buffer, keys).dump(content)
    return buffer.getvalue()


class _Pickler(pickle.Pickler):
    def __init__(self, buffer: io.BytesIO, keys: Mapping[int, int]) -> None:
        super().__init__(buffer, protocol=_PROTOCOL)
        self._keys = keys
        self.dispatch_table = {**copyreg.dispatch_table, Tensor: self._tensor, _NoHooks: _no_hooks}

    def persistent_id(self, value: Any) -> Any:
        """Return the reference to a storage, None for everything else."""
        kind = type(value)
        if kind is _Reference:
            return value.words
        if kind is TypedStorage:
            return self._words(value._pickle_storage_type(), value._untyped_storage, value._size())
        if kind is UntypedStorage:
            return self._words("UntypedStorage", value, value.nbytes())
        return None

    def _tensor(self, tensor: Tensor) -> Any:
        """Return how to rebuild a tensor; for ordinary ones the same as `__reduce_ex__`, but faster."""
        if tensor.layout is not torch.strided or tensor.dtype not in _KINDS:
            return tensor.__reduce_ex__(_PROTOCOL)  # type: ignore[no-untyped-call]
        storage = tensor.untyped_storage()
        words = self._words(_KINDS[tensor.dtype], storage, storage.nbytes() // tensor.element_size())
        place = (tensor.storage_offset(), tuple(tensor.size()), tensor.stride())
        return torch._utils._rebuild_tensor_v2, (_Reference(words), *place, False, _NoHooks())

    def _words(self, kind: str, storage: UntypedStorage, count: int) -> tuple[Any, ...]:
        return "storage", getattr(torch, kind), str(self._keys[identity(storage)]), "cpu", count


class _Reference:
    """The pickle's reference to a storage."""

    __slots__ = ("words",)

    def __init__(self, words: tuple[Any, ...]) -> None:
        self.words = words


class _NoHooks:
    """The empty dictionary of backward hooks, one for each tensor."""

    __slots__ = ()


def _no_hooks(_: _NoHooks) -> Any:
    return OrderedDict, ()
