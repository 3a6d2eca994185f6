"""Inert stand-ins for what a pickle names: the facts of a tensor, the name of a type."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
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
"""Bytes per element, by dtype name."""
_MOST_DIMENSIONS, _LARGEST = 64, 2**63


@dataclass(frozen=True, eq=False)
class Inert:
    """Stands for an object of a checkpoint, and does nothing."""

    name: str = "object"
    """The dotted name of the object, or of the function that made it."""


class Dtype(str):
    """The name of a dtype; stands for the dtype."""


class Device(str):
    """The name of a device; stands for the device."""


class Size(tuple[int, ...]):
    """The lengths of a `torch.Size`."""


@dataclass(frozen=True, eq=False)
class Storage(Inert):
    """The bytes of tensors: the member `key` of the archive."""

    key: str = ""
    dtype: str = "torch.uint8"
    size: int = 0
    """Bytes."""


@dataclass(frozen=True, eq=False)
class TensorFacts(Inert):
    """The facts of a dense tensor: everything but its values."""

    dtype: str = "unknown"
    shape: tuple[int, ...] = ()
    storages: tuple[Storage, ...] = ()
    """One; two or three for a sparse tensor."""
    offset: int = 0
    """Elements of the storage before the first one."""
    stride: tuple[int, ...] = ()
    """Elements between neighbours in each dimension."""
    marks: Mapping[str, bool] | None = None
    """Whether the values are conjugated or negated when read."""
    parts: "tuple[TensorFacts, ...]" = ()
    """The tensors inside a sparse or quantized one: indices and values, or scales and zero points."""

    @property
    def elements(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        """Bytes of all elements; for a sparse tensor, of all storages."""
        return self.elements * ITEM_BYTES[self.dtype]

    @property
    def fits(self) -> bool:
        """Return whether the tensor, and each of its parts, lies within its storage."""
        stored = self.storages[0].size // ITEM_BYTES[self.dtype]
        last = sum((length - 1) * step for length, step in zip(self.shape, self.stride, strict=True))
        inside = self.elements <= stored and self.offset + (last + 1 if self.elements else 0) <= stored
        return inside and all(part.fits for part in self.parts)


def dense_facts(key: str, dtype: str, shape: Any) -> TensorFacts:
    """Return the facts of a contiguous tensor that fills the storage `key`.

    Raises:
        ValueError: there is no such dtype, or no tensor has this shape.
    """
    if dtype not in ITEM_BYTES or not isinstance(shape, (list, tuple)) or len(shape) > _MOST_DIMENSIONS:
        raise ValueError("a tensor has an invalid dtype or shape")
    strides, step = [], 1
    for length in reversed(shape):
        strides.append(step)
        if type(length) is not int or length < 0 or (step := step * max(length, 1)) >= _LARGEST:
            raise ValueError("a tensor has an invalid shape")
    storage = Storage("storage", key, dtype, math.prod(shape) * ITEM_BYTES[dtype])
    return TensorFacts("tensor", dtype, tuple(shape), (storage,), 0, tuple(reversed(strides)))


@dataclass(frozen=True, eq=False)
class SparseFacts(TensorFacts):
    """The facts of a sparse tensor."""

    layout: str = ""
    coalesced: bool | None = None

    @property
    def size(self) -> int:
        """Bytes of all storages."""
        return sum(storage.size for storage in self.storages)

    @property
    def fits(self) -> bool:
        """Return whether each part fits."""
        return all(part.fits for part in self.parts)


@dataclass(frozen=True, eq=False)
class QuantizedFacts(TensorFacts):
    """The facts of a quantized tensor."""

    scheme: tuple[Any, ...] = ()
    """Its name, scale and zero point, and the axis of a per-channel one."""
