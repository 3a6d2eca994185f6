"""The transform of a data set: how its inputs are made, as plain values that a checkpoint holds."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor

from runner.data.inputs.pictures import FITS, MODES, Pictures
from runner.errors import DataMissing

_BYTES, _FLOATS = "uint8", "float32"
_MOST = 2**26  # elements of one input
_MOST_DIMENSIONS = 8


@dataclass(frozen=True)
class Transform:
    """The form of one input, before bytes are scaled, and how pictures become inputs, if they do."""

    shape: tuple[int, ...]
    dtype: str = _FLOATS
    pictures: Pictures | None = None

    @property
    def size(self) -> int:
        """The number of values of an input."""
        return math.prod(self.shape)

    def plain(self) -> dict[str, Any]:
        """Return it as plain values, for `transform_from`."""
        pictures = {} if self.pictures is None else {"pictures": asdict(self.pictures)}
        return {"shape": list(self.shape), "dtype": self.dtype, **pictures}

    def inputs(self, values: Tensor, place: str) -> Tensor:
        """Return numbers (samples, *shape) as the training had them.

        Raises:
            DataMissing: they have another shape, are not finite, or are floats where it had bytes, or the reverse.
        """
        if values.dtype is torch.uint8 and values.dim() == len(self.shape) == 3 and self.shape[0] == 1:
            values = values.unsqueeze(1)  # images without their one channel
        if tuple(values.shape[1:]) != self.shape or not len(values):
            raise DataMissing(
                f"{place} has inputs of shape {tuple(values.shape)}, and the model takes {_batch(self.shape)}; "
                "give it inputs as in training"
            )
        if not torch.isfinite(values).all():
            raise DataMissing(f"{place} has inputs that are not finite; leave these samples out, or fill them")
        return self._bytes(values, place) if self.dtype == _BYTES else self._floats(values, place)

    def _bytes(self, values: Tensor, place: str) -> Tensor:
        if values.is_floating_point() or values.min() < 0 or values.max() > 255:
            kind = str(values.dtype).removeprefix("torch.")
            raise DataMissing(
                f"{place} has {kind} from {values.min():g} to {values.max():g}, and the model was trained on bytes; "
                "give it whole numbers from 0 to 255"
            )
        return values.to(torch.uint8)

    def _floats(self, values: Tensor, place: str) -> Tensor:
        if values.dtype is torch.uint8 and values.dim() == 4:  # the training would have scaled them
            raise DataMissing(
                f"{place} has images of bytes, and the model was trained on float32 numbers; make numbers of them "
                "as for the training"
            )
        return values.float()


def transform_from(plain: Any) -> Transform:
    """Return the transform that plain values describe; ValueError if they describe none."""
    if not isinstance(plain, Mapping):
        raise ValueError("it is no mapping")
    shape, dtype, pictures = plain.get("shape"), plain.get("dtype"), plain.get("pictures")
    if not isinstance(shape, list) or not 0 < len(shape) <= _MOST_DIMENSIONS or not all(map(_is_size, shape)):
        raise ValueError(f"its shape is {str(shape)[:100]}")
    if math.prod(shape) > _MOST or dtype not in (_BYTES, _FLOATS):
        raise ValueError(f"its inputs are {str(dtype)[:100]} of shape {shape}")
    made = None if pictures is None else _pictures_from(pictures)
    if made is not None and list(made.shape) != shape:
        raise ValueError(f"its pictures are {list(made.shape)}, and its inputs {shape}")
    return Transform(tuple(shape), dtype, made)


def _pictures_from(plain: Any) -> Pictures:
    names = {field.name for field in fields(Pictures)}
    if not isinstance(plain, Mapping) or set(plain) != names:
        raise ValueError("its pictures have other keys")
    sizes = [plain[name] for name in ("size", "border", "enlarged")]
    if not _is_size(sizes[0]) or any(type(size) is not int or not 0 <= size <= _MOST for size in sizes):
        raise ValueError(f"the sizes of its pictures are {str(sizes)[:100]}")
    if plain["mode"] not in [*MODES] or plain["fit"] not in FITS or (sizes[0] + 2 * sizes[1]) ** 2 > _MOST:
        raise ValueError("its pictures have an unknown mode or fit, or are too large")
    return Pictures(**plain)


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 < value <= _MOST


def _batch(shape: tuple[int, ...]) -> str:
    return f"(samples, {', '.join(map(str, shape))})"
