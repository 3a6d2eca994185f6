"""The objectives of a search: a run's values at its best checkpoint, and the Pareto-optimal runs."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from runner.checkpoint.listing import BEST
from runner.checkpoint.reader.header import read_header
from runner.errors import CheckpointError


def at_best(run: Path, metrics: Sequence[str]) -> dict[str, float]:
    """Return the metrics that the run's best checkpoint holds as finite numbers."""
    try:
        found = read_header(run / BEST).get("metrics")
    except CheckpointError:
        return {}
    values = found if isinstance(found, dict) else {}
    return {name: values[name] for name in metrics if _is_number(values.get(name))}


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def optimal(runs: Sequence[Mapping[str, float]], modes: Mapping[str, str]) -> list[bool]:
    """Return for each run whether it has all values and is Pareto-optimal."""
    signs = {name: 1.0 if mode == "min" else -1.0 for name, mode in modes.items()}
    points = [
        tuple(sign * run[name] for name, sign in signs.items()) if signs.keys() <= run.keys() else None for run in runs
    ]
    whole = [point for point in points if point is not None]
    return [point is not None and not any(_beats(other, point) for other in whole) for point in points]


def _beats(one: Sequence[float], other: Sequence[float]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))
