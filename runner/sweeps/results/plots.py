"""Plots of a sweep: the metric over each swept value, and the learning curves of all jobs."""

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runner.sweeps.results.table import FINISHED, Row, curve, numeric

_MOST_NAMED = 12  # curves in a legend
_LARGEST = 1e100  # matplotlib's own arithmetic overflows beyond


def write_plots(sweep: Path, rows: Sequence[Row], monitor: str) -> list[Path]:
    """Write PNG files into `plots/` and return their paths; without matplotlib, print so and return none."""
    try:
        import matplotlib
    except ImportError:
        print("\nno plots: matplotlib is not installed; python -m pip install 'runner-train[plots]'")
        return []
    matplotlib.use("agg", force=False)
    (sweep / "plots").mkdir(exist_ok=True)
    keys = dict.fromkeys(key for row in rows for key in row.values)
    drawn = [_against(sweep, rows, monitor, key) for key in keys]
    return [path for path in (*drawn, _curves(sweep, rows, monitor)) if path is not None]


def _figure() -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    return figure, figure.subplots()


def _against(sweep: Path, rows: Sequence[Row], monitor: str, key: str) -> Path | None:
    """Plot the metric of each finished job over one swept key, with the mean per value."""
    points = [
        (row.values[key], row.metric)
        for row in rows
        if key in row.values and row.is_result and row.metric is not None and _is_drawn(row.metric)
    ]
    if not points:
        return None
    figure, axes = _figure()
    values = sorted({value for value, _ in points}, key=_order)
    places = _places(axes, values)
    metrics = {value: [metric for other, metric in points if other == value] for value in values}
    axes.scatter([places[value] for value, _ in points], [metric for _, metric in points], alpha=0.6, label="a job")
    if len(points) > len(values):
        means = [statistics.fmean(metrics[value]) for value in values]
        axes.plot(list(places.values()), means, "_-", color="black", markersize=14, linewidth=0.8, label="mean")
        axes.legend(fontsize=7)
    axes.set_xlabel(_label(key, 80))
    axes.set_ylabel(_label(f"best {monitor}", 80))
    return _saved(figure, axes, sweep / "plots" / f"{''.join(c if c.isalnum() else '_' for c in key)[:80]}.png")


def _order(value: str) -> tuple[float, str]:
    number = _number(value)
    return (math.inf if number is None else number, value)


def _number(value: str) -> float | None:
    number = numeric(value)
    return number if number is None or _is_drawn(number) else None


def _is_drawn(number: float) -> bool:
    """Return whether an axis can show the number; NaN makes a gap."""
    return not abs(number) >= _LARGEST


def _places(axes: Any, values: Sequence[str]) -> dict[str, float]:
    """Return each value's place on the axis: numbers by size, texts side by side."""
    numbers = [number for number in map(_number, values) if number is not None]
    if len(numbers) < len(values):
        numbers = [float(place) for place in range(len(values))]
    elif min(numbers) > 0 and max(numbers) >= 10 * min(numbers):
        axes.set_xscale("log")
    if len(values) <= _MOST_NAMED:
        axes.set_xticks(numbers, [_label(value, 24) for value in values])
        axes.minorticks_off()
    return dict(zip(values, numbers, strict=True))


def _curves(sweep: Path, rows: Sequence[Row], monitor: str) -> Path | None:
    """Plot each job's metric over its steps: better jobs darker, unfinished ones dashed."""
    drawn = ((row, *curve(sweep / row.name, monitor)) for row in rows)
    curves = [(row, steps, values) for row, steps, values in drawn if steps and all(map(_is_drawn, [*steps, *values]))]
    if not curves:
        return None
    import matplotlib

    figure, axes = _figure()
    best = rows[0] if rows[0].is_result else None
    colors = matplotlib.colormaps["viridis"].resampled(len(curves) + 1)  # the last is hard to see on white
    for place, (row, steps, values) in reversed(list(enumerate(curves))):  # the best on top
        label = ", ".join(f"{key}={value}" for key, value in row.values.items()) or row.name
        named = _label(label, 50) if place < _MOST_NAMED else None
        line = {"linestyle": "-" if row.state == FINISHED else "--", "linewidth": 2.2 if row is best else 1.1}
        axes.plot(steps, values, label=named, color=colors(place), **line)
    axes.set_xlabel("step")
    axes.set_ylabel(_label(monitor, 80))
    names = axes.get_legend_handles_labels()
    title = "the best first" if len(curves) <= _MOST_NAMED else f"the best {_MOST_NAMED} of {len(curves)}"
    figure.legend(names[0][::-1], names[1][::-1], fontsize=7, loc="outside right upper", title=title, title_fontsize=7)
    return _saved(figure, axes, sweep / "plots" / "curves.png")


def _label(text: str, longest: int) -> str:
    """Return the text with each dollar escaped, which would begin a formula."""
    return text[:longest].replace("$", r"\$")


def _saved(figure: Any, axes: Any, path: Path) -> Path:
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
    return path
