"""`python -m runner diff`: which tensors and settings of two checkpoints differ, and by how much."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from runner.checkpoint.format import read_entries
from runner.checkpoint.listing import LAST, checkpoint_in
from runner.checkpoint.reader.schema import states
from runner.errors import CheckpointRefused
from runner.text import printable
from runner.wiring.config.flat import flatten
from runner.wiring.overrides.arguments import OF_ONE_ATTEMPT
from runner.wiring.resume.stored_config import read_config

_MOST_ROWS = 2000
_TIMES = "progress.seconds"  # of two runs that are equal otherwise, never equal
_MISSING = object()


def diff_command(one: str, other: str) -> int:
    """Print what differs, a line for each tensor and setting; return 0 if nothing does, else 1.

    Moments, times, surroundings and the command line that made a file are not compared.
    """
    paths = [checkpoint_in(Path(path), LAST) for path in (one, other)]
    first, second = map(_leaves, paths)
    lines = list(_differences(first, second))
    for line in lines[:_MOST_ROWS]:
        print(printable(line))
    if len(lines) > _MOST_ROWS:
        print(f"... and {len(lines) - _MOST_ROWS} more")
    if not lines:
        print(f"equal: {len(first)} tensors and values")
    return 1 if lines else 0


def _leaves(path: Path) -> dict[str, Any]:
    """Return all that is compared of a file by its place, such as `model.0.weight` or `config.seed`."""
    entries = read_entries(path)
    leaves: dict[str, Any] = {name: entries[name] for name in ("epoch", "global_step", "loss")}
    leaves |= _flat(entries["metrics"], "metrics")
    leaves |= {
        f"config.{key}": value
        for key, value in flatten(read_config(entries["config"], path)).items()
        if key not in OF_ONE_ATTEMPT
    }
    for part, state in states(entries).items():
        leaves |= _flat(state, part)
    leaves.pop(_TIMES, None)
    for place, value in leaves.items():
        if isinstance(value, Tensor) and not _is_comparable(value):
            raise CheckpointRefused(f"{path} has in {place} a tensor that is sparse, quantized or without values")
    return leaves


def _flat(value: Any, place: str) -> dict[str, Any]:
    return dict(_walk(value, place))


def _walk(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _walk(item, f"{place}.{key}")
    elif isinstance(value, (list, tuple)) and value:
        for index, item in enumerate(value):
            yield from _walk(item, f"{place}[{index}]")
    else:
        yield place, value


def _is_comparable(tensor: Tensor) -> bool:
    return tensor.layout is torch.strided and not tensor.is_quantized and tensor.device.type == "cpu"


def _differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    for place in dict.fromkeys((*one, *other)):
        a, b = one.get(place, _MISSING), other.get(place, _MISSING)
        if b is _MISSING:
            yield f"{place}: only in the first"
        elif a is _MISSING:
            yield f"{place}: only in the second"
        elif how := _difference(a, b):
            yield f"{place}: {how}"


def _difference(a: Any, b: Any) -> str | None:
    if not (isinstance(a, Tensor) and isinstance(b, Tensor)):
        return None if _is_same(a, b) else f"{_shown(a)} -> {_shown(b)}"
    if a.shape != b.shape or a.dtype != b.dtype:
        return f"{_shown(a)} -> {_shown(b)}"
    return None if _has_same_values(a, b) else f"differs by at most {_largest(a, b):.6g}"


def _is_same(a: Any, b: Any) -> bool:
    """Return whether two plain values are equal; NaN, also within a list, is itself."""
    return type(a) is type(b) and not isinstance(a, Tensor) and (a == b or repr(a) == repr(b))


def _has_same_values(a: Tensor, b: Tensor) -> bool:
    return bool(torch.equal(a, b) or ((a == b) | ((a != a) & (b != b))).all())


def _largest(a: Tensor, b: Tensor) -> float:
    """Return the largest absolute difference, NaN if only one of two elements is NaN."""
    wide = torch.complex128 if a.is_complex() else torch.float64
    x, y = a.to(wide), b.to(wide)
    same = (a == b) | ((a != a) & (b != b))
    return float((x - y).abs().masked_fill(same, 0).max())


def _shown(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    return str(value)[:200]
