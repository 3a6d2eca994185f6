"""Means over jobs that differ only in their seed."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from runner.sweeps.results.table import NOT_STARTED, Row

_SEED = "seed"


@dataclass(frozen=True)
class Mean:
    """The metric of jobs that differ only in their seed."""

    values: Mapping[str, str]
    """The swept values, without the seed."""
    finished: int
    jobs: int
    mean: float
    """Over the jobs that finished."""
    deviation: float | None
    """None for a single job."""


def over_seeds(rows: Sequence[Row]) -> Iterator[Mean]:
    """Yield mean and deviation of the metric over the finished jobs of each group that differs only in its seed."""
    groups: dict[object, list[Row]] = {}
    for row in rows:
        if _SEED in row.values:
            groups.setdefault(row.kind or tuple(_without_seed(row).items()), []).append(row)
    for group in groups.values():
        metrics = [row.metric for row in group if row.is_result and row.metric is not None]
        if metrics:
            deviation = statistics.stdev(metrics) if len(metrics) > 1 else None
            yield Mean(_without_seed(group[0]), len(metrics), len(group), statistics.fmean(metrics), deviation)


def unexplained(rows: Sequence[Row]) -> list[str]:
    """Return one job per config where jobs with equal swept values have different configs: conf/ has changed."""
    kinds: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}
    for row in rows:
        if row.kind and row.state != NOT_STARTED:
            kinds.setdefault(tuple(_without_seed(row).items()), {}).setdefault(row.kind, row.name)
    return [name for group in kinds.values() if len(group) > 1 for name in group.values()]


def _without_seed(row: Row) -> dict[str, str]:
    return {key: value for key, value in row.values.items() if key != _SEED}
