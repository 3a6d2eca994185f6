"""Inert stand-ins for what a pickle names: of tensors the facts are kept, of anything else the name."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pickle import UnpicklingError
from typing import Any

_SIZES = {
    1: "bool uint8 int8 qint8 quint8 quint4x2 quint2x4 bits8 bits1x8 bits2x4 bits4x2 float4_e2m1fn_x2 "
    "float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu "
    + " ".join(f"int{bits} uint{bits}" for bits in range(1, 8)),
    2: "float16 bfloat16 int16 uint16 bits16",
    4: "float32 int32 uint32 qint32 complex32",
    8: "float64 int64 uint64 complex64",
    16: "complex128",
}
ITEM_BYTES = {f"torch.{name}": size for size, names in _SIZES.items() for name in names.split()}
"""Bytes of one element, by the name of the dtype."""

_STORAGES = {
    "Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16", "Long": "int64",
    "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool",
    "ComplexDouble": "complex128", "ComplexFloat": "complex64", "QInt8": "qint8", "QUInt8": "quint8",
    "QInt32": "qint32", "QUInt4x2": "quint4x2", "QUInt2x4": "quint2x4", "Untyped": "uint8",
}  # fmt: skip
_STORAGE = re.compile(r"torch\.(?:cuda\.|storage\.)?(\w+)Storage")
_PLAIN = re.compile(  # what `torch.load(weights_only=True)` lets a file name
    r"torch\._utils\._rebuild_\w+|torch\._tensor\._rebuild_from_type_v2|torch\.serialization\._get_layout"
    r"|torch\.(cuda\.|sparse\.|cuda\.sparse\.)?[A-Z][A-Za-z0-9]*(Tensor|Storage)|torch\.(Tensor|Size|device)"
    r"|torch\.storage\.(Typed|Untyped)Storage|torch\.nn\.parameter\.Parameter|torch\.per_(tensor|channel)_\w+"
    r"|collections\.(OrderedDict|Counter)|_codecs\.encode|builtins\.(set|bytes|bytearray|complex)"
)


@dataclass(frozen=True, eq=False)
class Inert:
    """Stands where a checkpoint has an object; does nothing, whatever is done to it."""

    name: str = "object"
    """The dotted name that the file gives, or of what made it."""

    def __call__(self, *arguments: Any) -> Any:
        """Return what stands for the result of a call."""
        return _rebuilt(self.name, arguments)

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, item: Any) -> None:
        """Ignore `item`."""

    def extend(self, items: Any) -> None:
        """Ignore `items`."""


@dataclass(frozen=True, eq=False)
class Storage(Inert):
    """The bytes behind tensors: the member of the archive called `key`."""

    key: str = ""
    dtype: str = "torch.uint8"
    size: int = 0
    """Bytes."""


@dataclass(frozen=True, eq=False)
class TensorFacts(Inert):
    """What is known of a tensor without its values."""

    dtype: str = "unknown"
    shape: tuple[int, ...] = ()
    storages: tuple[Storage, ...] = ()
    """None for a tensor on the meta device, two or three for a sparse one."""
    dense: bool = True

    @property
    def elements(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        """Bytes: of the elements of a dense tensor, of all that is stored for another."""
        if self.dense:
            return self.elements * ITEM_BYTES.get(self.dtype, 1)
        return sum(storage.size for storage in self.storages)

    @property
    def fits(self) -> bool:
        """Return whether the file stores as many bytes as the tensor claims."""
        return not self.dense or not self.storages or self.size <= sum(s.size for s in self.storages)


def is_plain(name: str) -> bool:
    """Return whether `torch.load(weights_only=True)` lets a file name this; what it lets is inert itself."""
    return name in ITEM_BYTES or _PLAIN.fullmatch(name) is not None


def storage(pid: Any) -> Storage:
    """Return the storage that a persistent id means.

    Raises:
        UnpicklingError: it means something else.
    """
    if not isinstance(pid, tuple) or len(pid) != 5 or pid[0] != "storage":
        raise UnpicklingError("it refers to something that is no storage")
    _, kind, key, _, length = pid
    match = _STORAGE.fullmatch(kind.name) if isinstance(kind, Inert) else None
    dtype = f"torch.{_STORAGES.get(match[1], '')}" if match else ""
    if dtype not in ITEM_BYTES or type(key) is not str or type(length) is not int or not 0 <= length < 2**63:
        raise UnpicklingError("it has an impossible storage")
    return Storage("storage", key, dtype, length * ITEM_BYTES[dtype])


def _rebuilt(name: str, arguments: Sequence[Any]) -> Any:
    maker = _MAKERS.get(name)
    return Inert(name) if maker is None else maker(*arguments)


def _shape(value: Any) -> tuple[int, ...]:
    plain = isinstance(value, tuple) and len(value) <= 64
    if not plain or not all(type(length) is int and 0 <= length < 2**63 for length in value):
        raise UnpicklingError("a tensor has an impossible shape")
    return tuple(value)


def _tensor(storage: Any, offset: Any, shape: Any, *_: Any) -> TensorFacts:
    if not isinstance(storage, Storage):
        raise UnpicklingError("a tensor has no storage")
    return TensorFacts("tensor", storage.dtype, _shape(shape), (storage,))


def _tensor_v3(storage: Any, offset: Any, shape: Any, stride: Any, grad: Any, hooks: Any, dtype: Any, *_: Any) -> Any:
    facts = _tensor(storage, offset, shape)
    return TensorFacts("tensor", _dtype(dtype), facts.shape, facts.storages)


def _meta(dtype: Any, shape: Any, *_: Any) -> TensorFacts:
    return TensorFacts("tensor on the meta device", _dtype(dtype), _shape(shape))


def _sparse(layout: Any, parts: Any, *_: Any) -> TensorFacts:
    tensors = [part for part in parts if isinstance(part, TensorFacts)]
    shape = next(part for part in parts if isinstance(part, tuple))
    storages = tuple(storage for tensor in tensors for storage in tensor.storages)
    return TensorFacts("sparse tensor", tensors[-1].dtype, _shape(shape), storages, dense=False)


def _first(value: Any = None, *_: Any) -> Any:
    return value


def _dtype(value: Any) -> str:
    return value.name if isinstance(value, Inert) and value.name in ITEM_BYTES else "unknown"


def _made_by(function: Any, kind: Any, arguments: Any, *_: Any) -> Any:
    return _rebuilt(function.name, arguments) if isinstance(function, Inert) and isinstance(arguments, tuple) else None


_MAKERS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_qtensor": _tensor,
    "torch._utils._rebuild_meta_tensor_no_storage": _meta,
    "torch._utils._rebuild_sparse_tensor": _sparse,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._tensor._rebuild_from_type_v2": _made_by,
    "torch.Size": _first,
    "torch.device": _first,
    "builtins.set": _first,
    "collections.Counter": _first,
    "collections.OrderedDict": lambda *_: {},
    "_codecs.encode": lambda *_: Inert("bytes"),
}
