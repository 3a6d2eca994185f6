"""The calls and names by which `torch.save` writes tensors and plain values, each turned into an inert stand-in.

Anything else is refused, even where `torch.load(weights_only=True)` accepts it: a tensor that is not a view of a
storage in the file has no values.
"""

import re
from collections import Counter, OrderedDict
from collections.abc import Callable
from pickle import UnpicklingError
from typing import Any

from runner.checkpoint.inert import (
    ITEM_BYTES,
    Device,
    Dtype,
    Inert,
    QuantizedFacts,
    Size,
    SparseFacts,
    Storage,
    TensorFacts,
)

_STORAGES = {
    "Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16", "Long": "int64",
    "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool",
    "ComplexDouble": "complex128", "ComplexFloat": "complex64", "QInt8": "qint8", "QUInt8": "quint8",
    "QInt32": "qint32", "QUInt4x2": "quint4x2", "QUInt2x4": "quint2x4", "Untyped": "uint8",
}  # fmt: skip
_STORAGE = re.compile(r"torch\.(?:cuda\.|storage\.)?(\w+)Storage")
_SCHEMES = ("torch.per_tensor_affine", "torch.per_channel_affine")
_LAYOUTS = {"torch.sparse_coo": 2, **{f"torch.sparse_{kind}": 3 for kind in ("csr", "csc", "bsr", "bsc")}}
_TENSORS = ("torch.Tensor", "torch.nn.parameter.Parameter")
_DEVICE = re.compile(r"(cpu|cuda|mps|xpu|meta)(:\d{1,2})?")
_LARGEST = 2**63


def named(name: str) -> Any:
    """Return the stand-in for a class or function; None for one that no plain file names."""
    if name in ITEM_BYTES:
        return Dtype(name)
    known = name in _MAKERS or name in _SCHEMES or name in _TENSORS or _STORAGE.fullmatch(name)
    return Inert(name) if known else None


def storage(pid: Any) -> Storage:
    """Return the storage that a persistent id names.

    Raises:
        UnpicklingError: it does not name a storage.
    """
    if type(pid) is not tuple or len(pid) != 5 or pid[0] != "storage":
        raise UnpicklingError("it refers to something other than a storage")
    _, kind, key, location, length = pid
    match = _STORAGE.fullmatch(kind.name) if type(kind) is Inert else None
    dtype = f"torch.{_STORAGES.get(match[1], '')}" if match else ""
    _require(dtype in ITEM_BYTES and type(key) is type(location) is str and _is_length(length), "an invalid storage")
    return Storage("storage", key, dtype, length * ITEM_BYTES[dtype])


def made(function: Any, arguments: Any) -> Any:
    """Return the stand-in for the result of a call.

    Raises:
        UnpicklingError: `torch.save` writes no such call.
    """
    maker = _MAKERS.get(function.name) if type(function) is Inert else None
    _require(maker is not None and type(arguments) is tuple, "a call of a value that is not a function")
    assert maker is not None
    try:
        return maker(*arguments)
    except TypeError as error:
        raise UnpicklingError(f"it calls {function.name} in an unknown way") from error


def _require(right: object, what: str) -> None:
    if not right:
        raise UnpicklingError(f"it has {what}")


def _is_length(value: Any) -> bool:
    return type(value) is int and 0 <= value < _LARGEST


def _lengths(value: Any) -> tuple[int, ...]:
    _require(type(value) in (tuple, Size) and len(value) <= 64 and all(map(_is_length, value)), "an impossible shape")
    return tuple(value)


def _tensor(
    storage: Any, offset: Any, shape: Any, stride: Any, grad: Any = False, hooks: Any = None, marks: Any = None
) -> TensorFacts:
    _require(type(storage) is Storage, "a tensor without a storage")
    return _view(storage, storage.dtype, offset, shape, stride, marks)


def _tensor_v3(
    storage: Any, offset: Any, shape: Any, stride: Any, grad: Any, hooks: Any, dtype: Any, marks: Any = None
) -> TensorFacts:
    _require(type(storage) is Storage and type(dtype) is Dtype, "a tensor without a storage")
    return _view(storage, str(dtype), offset, shape, stride, marks)


def _view(storage: Storage, dtype: str, offset: Any, shape: Any, stride: Any, marks: Any) -> TensorFacts:
    shape, stride = _lengths(shape), _lengths(stride)
    _require(len(shape) == len(stride) and _is_length(offset), "an impossible shape")
    plain = type(marks) is dict and marks.keys() <= {"conj", "neg"} and all(type(m) is bool for m in marks.values())
    _require(marks is None or plain, "a tensor with odd marks")
    return TensorFacts("tensor", dtype, shape, (storage,), offset, stride, marks or None)


def _quantized(storage: Any, offset: Any, shape: Any, stride: Any, scheme: Any, grad: Any, hooks: Any) -> TensorFacts:
    facts = _tensor(storage, offset, shape, stride)
    _require(type(scheme) is tuple and scheme and type(scheme[0]) is Inert, "an odd quantized tensor")
    kinds = (Inert, float, int) if len(scheme) == 3 else (Inert, TensorFacts, TensorFacts, int)
    _require(
        tuple(map(type, scheme)) == kinds and scheme[0].name == _SCHEMES[len(kinds) - 3], "an odd quantized tensor"
    )
    parts = tuple(part for part in scheme if type(part) is TensorFacts)
    storages = (storage, *(part.storages[0] for part in parts))
    place = (facts.shape, storages, facts.offset, facts.stride, None)
    return QuantizedFacts("quantized tensor", facts.dtype, *place, parts, scheme)


def _sparse(layout: Any, data: Any) -> TensorFacts:
    _require(type(layout) is Inert and layout.name in _LAYOUTS and type(data) is tuple, "an odd sparse tensor")
    count = _LAYOUTS[layout.name]
    parts, (shape, *rest) = data[:count], data[count:] or ((),)
    known = not rest or (count == 2 and len(rest) == 1 and type(rest[0]) is bool)
    _require(known and [type(part) for part in parts] == [TensorFacts] * count, "an odd sparse tensor")
    storages = tuple(storage for part in parts for storage in part.storages)
    facts = ("sparse tensor", parts[-1].dtype, _lengths(shape), storages)
    return SparseFacts(*facts, parts=parts, layout=layout.name, coalesced=rest[0] if rest else None)


def _parameter(tensor: Any, grad: Any, hooks: Any, state: Any = None) -> TensorFacts:
    _require(isinstance(tensor, TensorFacts), "a parameter that is not a tensor")
    return tensor  # type: ignore[no-any-return]


def _of_type(function: Any, kind: Any, arguments: Any, state: Any) -> TensorFacts:
    """Return the facts of a tensor without the attributes that were set on it."""
    direct = type(function) is Inert and function.name.startswith("torch._utils._rebuild_")
    _require(direct and type(kind) is Inert and kind.name in _TENSORS, "a tensor of another kind")
    return made(function, arguments)  # type: ignore[no-any-return]


def _layout(name: Any) -> Inert:
    _require(type(name) is str and name in _LAYOUTS, "an unknown layout")
    return Inert(name)


def _device(kind: Any, index: Any = None) -> Device:
    _require(type(kind) is str and (index is None or type(index) is int), "an odd device")
    name = kind if index is None else f"{kind}:{index}"
    _require(_DEVICE.fullmatch(name), "an odd device")
    return Device(name)


def _bytes(text: Any, encoding: Any) -> bytes:
    _require(type(text) is str and encoding == "latin1", "odd bytes")
    return text.encode("latin1")  # type: ignore[no-any-return]


def _bytearray(content: Any = b"") -> bytearray:
    _require(type(content) is bytes, "odd bytes")
    return bytearray(content)


def _complex(real: Any, imaginary: Any) -> complex:
    _require(type(real) is type(imaginary) is float, "an odd number")
    return complex(real, imaginary)


def _set(items: Any) -> set[Any]:
    _require(type(items) is list and all(map(is_key, items)), "an odd set")
    return set(items)


def _counter(items: Any) -> Counter[Any]:
    _require(type(items) is dict, "an odd counter")
    return Counter(items)


def is_key(value: Any) -> bool:
    """Return whether a value may be a dictionary's key or in a set: hashable, short, flat, without a tensor."""
    kind = type(value)
    return kind in _KEYS or (kind in (tuple, Size) and len(value) <= 8 and all(type(item) in _KEYS for item in value))


_KEYS = (str, int, float, bool, type(None), bytes, Dtype, Device)
_MAKERS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_qtensor": _quantized,
    "torch._utils._rebuild_sparse_tensor": _sparse,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type_v2": _of_type,
    "torch.serialization._get_layout": _layout,
    "torch.Size": lambda lengths: Size(_lengths(lengths)),
    "torch.device": _device,
    "builtins.set": _set,
    "builtins.bytearray": _bytearray,
    "builtins.complex": _complex,
    "collections.Counter": _counter,
    "collections.OrderedDict": lambda: OrderedDict(),
    "_codecs.encode": _bytes,
}
