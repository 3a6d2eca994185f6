"""A sweep as pictures: the metric against each swept value, and the learning curves of all jobs."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runner.sweeps.results import Row, curve, numeric

log = logging.getLogger("runner")
_MOST_NAMED = 12  # curves in a legend


def write_plots(sweep: Path, rows: Sequence[Row], monitor: str) -> list[Path]:
    """Write PNG files into `plots/` and return them; none, and a line that says so, without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        log.info("no plots were drawn: python -m pip install 'runner-train[plots]' brings what they need")
        return []
    matplotlib.use("agg", force=False)
    (sweep / "plots").mkdir(exist_ok=True)
    keys = dict.fromkeys(key for row in rows for key in row.values)
    drawn = [_against(sweep, rows, monitor, key) for key in keys]
    return [path for path in (*drawn, _curves(sweep, rows, monitor)) if path is not None]


def _figure() -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    return figure, figure.subplots()


def _against(sweep: Path, rows: Sequence[Row], monitor: str, key: str) -> Path | None:
    """Draw the metric of each job against its value of one key."""
    points = [(row.values[key], row.metric) for row in rows if key in row.values and row.metric is not None]
    if not points:
        return None
    figure, axes = _figure()
    numbers = [numeric(value) for value, _ in points]
    if all(number is not None for number in numbers):
        positive = [number for number in numbers if number is not None and number > 0]
        if len(positive) == len(numbers) and max(positive) >= 10 * min(positive):
            axes.set_xscale("log")
        axes.scatter(numbers, [metric for _, metric in points])
    else:
        axes.scatter([value[:24] for value, _ in points], [metric for _, metric in points])
    axes.set_xlabel(key)
    axes.set_ylabel(f"best {monitor}")
    axes.grid(alpha=0.3)
    path = sweep / "plots" / f"{''.join(c if c.isalnum() else '_' for c in key)[:80]}.png"
    figure.savefig(path, dpi=120)
    return path


def _curves(sweep: Path, rows: Sequence[Row], monitor: str) -> Path | None:
    figure, axes = _figure()
    curves = [(row, *curve(sweep / row.name, monitor)) for row in rows]
    curves = [entry for entry in curves if entry[1]]
    if not curves:
        return None
    for place, (row, steps, values) in enumerate(curves):
        label = ", ".join(f"{key}={value}" for key, value in row.values.items()) or row.name
        axes.plot(steps, values, label=label[:50] if place < _MOST_NAMED else None, linewidth=1.2)
    axes.set_xlabel("step")
    axes.set_ylabel(monitor)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    path = sweep / "plots" / "curves.png"
    figure.savefig(path, dpi=120)
    return path
