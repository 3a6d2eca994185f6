"""Find where two states, or the checkpoints of two runs, differ in any bit."""

import csv
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from runner.checkpoint.format import SUFFIX, read_entries
from runner.checkpoint.listing import steps
from runner.checkpoint.reader.entries import part_of

_DESCRIPTIONS = ("created", "environment", "config")
_TIME = "seconds"


@dataclass(frozen=True)
class Difference:
    """One place where two states differ."""

    place: str
    how: str

    @property
    def part(self) -> str:
        """The part of the checkpoint that has it: model, optimizer, rng..."""
        return part_of(self.place.split(".")[0].split("[")[0])

    def __str__(self) -> str:
        """Return the place and the difference."""
        return f"{self.place} ({self.how})"


@dataclass(frozen=True)
class Departure:
    """The first boundary at which two runs differ."""

    step: int
    differences: tuple[Difference, ...]

    @property
    def parts(self) -> list[str]:
        """The parts that differ there, in the file's order."""
        return list(dict.fromkeys(difference.part for difference in self.differences))


def differences(one: Any, other: Any, place: str = "") -> Iterator[Difference]:
    """Yield every place where two nested states differ, in order; NaN equals NaN."""
    if type(one) is not type(other):
        yield Difference(place, _change(one, other))
    elif isinstance(one, Tensor):
        if (how := apart(one, other)) is not None:
            yield Difference(place, how)
    elif isinstance(one, Mapping):
        yield from _in_mappings(one, other, place)
    elif isinstance(one, (list, tuple)):
        yield from _in_sequences(one, other, place)
    elif repr(one) != repr(other):  # tells -0.0 from 0.0, but not NaN from NaN
        yield Difference(place, _change(one, other))


def _in_mappings(one: Mapping[Any, Any], other: Mapping[Any, Any], place: str) -> Iterator[Difference]:
    for key in [*one, *(key for key in other if key not in one)]:
        inner = f"{place}.{key}" if place else str(key)
        if key in one and key in other:
            yield from differences(one[key], other[key], inner)
        else:
            yield Difference(inner, "only in the first" if key in one else "only in the second")


def _in_sequences(one: Any, other: Any, place: str) -> Iterator[Difference]:
    if len(one) != len(other):
        yield Difference(place, f"{len(one)} and {len(other)} elements")
        return
    for index, (left, right) in enumerate(zip(one, other, strict=True)):
        yield from differences(left, right, f"{place}[{index}]")


def apart(one: Tensor, other: Tensor) -> str | None:
    """Return how two tensors differ, None if they have the same bits."""
    if (one.shape, one.dtype, one.layout) != (other.shape, other.dtype, other.layout):
        return _change(one, other)
    if one.layout is not torch.strided or one.is_quantized:
        same = all(apart(left, right) is None for left, right in zip(_stored(one), _stored(other), strict=True))
        return None if same else "other elements"
    if torch.equal(_bits(one), _bits(other)):
        return None
    unequal = (_bits(one) != _bits(other)).reshape(one.numel(), -1).any(1)
    wide = torch.complex128 if one.is_complex() else torch.float64
    left, right = (tensor.reshape(-1)[unequal].to(wide) for tensor in (one, other))
    return f"{len(left)} of {one.numel()} elements, by up to {float((left - right).abs().max()):.3g}"


def _stored(tensor: Tensor) -> tuple[Tensor, ...]:
    """Return the dense tensors that store a sparse or quantized one."""
    if tensor.is_quantized:
        return tensor.int_repr(), tensor.dequantize()
    if tensor.layout is torch.sparse_coo:
        return tensor._indices(), tensor._values()
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        return tensor.crow_indices(), tensor.col_indices(), tensor.values()
    return tensor.ccol_indices(), tensor.row_indices(), tensor.values()


def _bits(tensor: Tensor) -> Tensor:
    return tensor.resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8)


def _change(one: Any, other: Any) -> str:
    return f"{_described(one)} -> {_described(other)}"


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        layout = "" if value.layout is torch.strided else f" {value.layout}"
        return f"{value.dtype} {tuple(value.shape)}{layout}".replace("torch.", "")
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def first_departure(one: Path, other: Path) -> Departure | None:
    """Return where two runs part: the first step at which both have a checkpoint and these differ.

    Raises:
        CheckpointError: a file is damaged or refused.
    """
    both = sorted(steps(one).keys() & steps(other).keys())
    for step in both:
        left, right = (comparable(read_entries(steps(run)[step])) for run in (one, other))
        found = tuple(differences(left, right))
        if found:
            return Departure(step, found)
    return _in_metrics(one, other)


def comparable(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return a file's states, then its other entries, without what differs between equal runs, such as times."""
    names = [name for name in entries if name not in _DESCRIPTIONS]
    first = {name: entries[name] for name in sorted(names, key=lambda name: not name.endswith(SUFFIX))}
    return {name: {**value, _TIME: None} if name == f"progress{SUFFIX}" else value for name, value in first.items()}


def _in_metrics(one: Path, other: Path) -> Departure | None:
    step = first_other_row(one, other)
    return None if step is None else Departure(step, (Difference("metrics.csv", f"the rows of step {step}"),))


def first_other_row(one: Path, other: Path) -> int | None:
    """Return the first step whose rows in the two `metrics.csv` differ, times excepted."""
    left, right = rows(one), rows(other)
    unequal = [step for step in left.keys() | right.keys() if left.get(step) != right.get(step)]
    return min(unequal, default=None)


def rows(run_directory: Path) -> dict[int, dict[str, str]]:
    """Return the rows of `metrics.csv` by step, without the time."""
    with open(run_directory / "metrics.csv", newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    return {int(row["step"]): {name: text for name, text in row.items() if name != _TIME} for row in found}


@dataclass(frozen=True)
class Distance:
    """How far two models' weights are apart; what is not in both, in one shape, is left out."""

    tensors: int
    """The tensors that both have in one shape."""
    others: int
    """The tensors that only one has, or that have another shape."""
    differing: int
    """Those of `tensors` that differ in any bit."""
    absolute: float
    """The Euclidean norm of the difference of all floating-point values."""
    relative: float | None
    """That norm divided by the norm of the first model; None where this is zero."""
    cosine: float | None
    """The cosine of the angle between the two, None where one is zero."""
    farthest: tuple[tuple[str, float], ...]
    """The names of the tensors with the greatest distances, and these."""


def distance(one: Mapping[str, Any], other: Mapping[str, Any], most: int = 5) -> Distance:
    """Return how far two state_dicts are apart, computed in float64."""
    left, right = (
        {name: value for name, value in state.items() if isinstance(value, Tensor)} for state in (one, other)
    )
    common = [name for name in left if name in right and left[name].shape == right[name].shape]
    squares = {name: _squares(left[name], right[name]) for name in common if _is_measured(left[name], right[name])}
    apart_, first, second, product = (sum(values) for values in zip((0.0,) * 4, *squares.values(), strict=True))
    each = sorted(((name, math.sqrt(values[0])) for name, values in squares.items()), key=lambda pair: -pair[1])
    return Distance(
        len(common),
        len(left.keys() | right.keys()) - len(common),
        sum(apart(left[name], right[name]) is not None for name in common),
        math.sqrt(apart_),
        math.sqrt(apart_ / first) if first else None,
        product / math.sqrt(first * second) if first and second else None,
        tuple(pair for pair in each[:most] if pair[1]),
    )


def _is_measured(*tensors: Tensor) -> bool:
    return all(one.is_floating_point() and one.layout is torch.strided and not one.is_quantized for one in tensors)


def _squares(one: Tensor, other: Tensor) -> tuple[float, float, float, float]:
    """Return the squared norms of the difference and of both tensors, and their product."""
    left, right = one.reshape(-1).double(), other.reshape(-1).double()
    gap = left - right
    return tuple(float(a @ b) for a, b in ((gap, gap), (left, left), (right, right), (left, right)))  # type: ignore[return-value]
