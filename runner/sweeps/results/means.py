"""Jobs that differ in their seed only, taken together."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from runner.sweeps.results.table import NOT_STARTED, Row

_SEED = "seed"


@dataclass(frozen=True)
class Mean:
    """What came of the jobs that differ in their seed only."""

    values: Mapping[str, str]
    """What was swept, without the seed."""
    finished: int
    jobs: int
    mean: float
    """Of those that finished."""
    deviation: float | None
    """None of a single one."""


def over_seeds(rows: Sequence[Row]) -> Iterator[Mean]:
    """Yield, where the seed was swept, mean and deviation of the metric over those that finished, if any did."""
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
    """Return jobs, one a kind, that are of several kinds though all that was swept is equal in them: conf/ changed."""
    kinds: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}
    for row in rows:
        if row.kind and row.state != NOT_STARTED:
            kinds.setdefault(tuple(_without_seed(row).items()), {}).setdefault(row.kind, row.name)
    return [name for group in kinds.values() if len(group) > 1 for name in group.values()]


def _without_seed(row: Row) -> dict[str, str]:
    return {key: value for key, value in row.values.items() if key != _SEED}
