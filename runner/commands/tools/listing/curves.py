"""The curves of several runs, thinned to what a page can show."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from runner.commands.tools.listing.run import METRICS, Run
from runner.tracking.csv_file import read_rows

MOST_RUNS = 100
_MOST_POINTS = 100_000  # of all curves of a page
_MOST_OF_ONE, _FEWEST_OF_ONE = 400, 20
_NO_CURVES = ("step", "epoch", "seconds")


def curves(runs: Sequence[Run]) -> dict[str, list[dict[str, Any]]]:
    """Return by metric the curves of the first MOST_RUNS runs: the number of the run, its steps, its values."""
    rows = [read_rows(run.path / METRICS) for run in runs[:MOST_RUNS]]
    names = dict.fromkeys(name for own in rows for row in own for name in row if name not in _NO_CURVES)
    most = max(_FEWEST_OF_ONE, min(_MOST_OF_ONE, _MOST_POINTS // max(1, len(names) * len(rows))))
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for number, own in enumerate(rows):
        for name in names:
            points = list(_points(own, name))
            if points:
                steps, values = zip(*_thinned(points, most), strict=True)
                found[name].append({"run": number, "steps": steps, "values": values})
    return {name: lines for name, lines in found.items() if lines}


def _points(rows: Sequence[dict[str, str]], name: str) -> Iterator[tuple[int, float]]:
    for row in rows:
        if name in row and math.isfinite(value := float(row[name])):
            yield int(row["step"]), float(f"{value:.6g}")


def _thinned(points: Sequence[tuple[int, float]], most: int) -> list[tuple[int, float]]:
    """Return at most so many points: of each stretch the least and the greatest, and always the last."""
    if len(points) <= most:
        return list(points)
    length = math.ceil(2 * len(points) / (most - 1))
    kept: dict[int, float] = {}
    for begin in range(0, len(points), length):
        stretch = points[begin : begin + length]
        ends = (min(stretch, key=lambda point: point[1]), max(stretch, key=lambda point: point[1]))
        kept |= dict(sorted(ends))
    return [*kept.items(), points[-1]] if points[-1][0] not in kept else list(kept.items())
