"""Inert stand-ins for what a pickle names: of tensors the facts are kept, of types the name; nothing is called."""

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
"""Bytes of one element, by the name of the dtype."""


@dataclass(frozen=True, eq=False)
class Inert:
    """Stands where a checkpoint has an object; does nothing, whatever is done to it."""

    name: str = "object"
    """The dotted name that the file gives, or of what made it."""


class Dtype(str):
    """The name of a dtype, where a file has the dtype."""


class Device(str):
    """The name of a device, where a file has the device."""


class Size(tuple[int, ...]):
    """The lengths of a `torch.Size`."""


@dataclass(frozen=True, eq=False)
class Storage(Inert):
    """The bytes behind tensors: the member of the archive called `key`."""

    key: str = ""
    dtype: str = "torch.uint8"
    size: int = 0
    """Bytes."""


@dataclass(frozen=True, eq=False)
class TensorFacts(Inert):
    """What is known of a dense tensor without its values."""

    dtype: str = "unknown"
    shape: tuple[int, ...] = ()
    storages: tuple[Storage, ...] = ()
    """One; two or three for a sparse tensor."""
    offset: int = 0
    """Elements before the first one, and between neighbours in each dimension:"""
    stride: tuple[int, ...] = ()
    marks: Mapping[str, bool] | None = None
    """Whether the values are to be conjugated or negated."""
    parts: "tuple[TensorFacts, ...]" = ()
    """The tensors that a sparse or quantized one consists of: indices and values, or scales and zero points."""

    @property
    def elements(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        """Bytes: of the elements of a dense tensor, of all that is stored for a sparse one."""
        return self.elements * ITEM_BYTES[self.dtype]

    @property
    def fits(self) -> bool:
        """Return whether the tensor lies in its storage, and does not claim more than that has."""
        stored = self.storages[0].size // ITEM_BYTES[self.dtype]
        last = sum((length - 1) * step for length, step in zip(self.shape, self.stride, strict=True))
        inside = self.elements <= stored and self.offset + (last + 1 if self.elements else 0) <= stored
        return inside and all(part.fits for part in self.parts)


@dataclass(frozen=True, eq=False)
class SparseFacts(TensorFacts):
    """What is known of a sparse tensor."""

    layout: str = ""
    coalesced: bool | None = None

    @property
    def size(self) -> int:
        """Bytes of all that is stored."""
        return sum(storage.size for storage in self.storages)

    @property
    def fits(self) -> bool:
        """Return whether each part does."""
        return all(part.fits for part in self.parts)


@dataclass(frozen=True, eq=False)
class QuantizedFacts(TensorFacts):
    """What is known of a quantized tensor."""

    scheme: tuple[Any, ...] = ()
    """Its name, scale and zero point, and for one of each channel the axis."""
