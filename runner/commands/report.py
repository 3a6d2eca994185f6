"""`python -m runner report`: what came of a sweep, made again from its files."""

import json
from collections.abc import Sequence
from pathlib import Path

from runner.commands.text import safe
from runner.sweeps.plots import write_plots
from runner.sweeps.results import (
    BEST,
    RESULTS,
    aligned,
    as_plain,
    over_seeds,
    read_record,
    rows_of,
    table,
    write_results,
)
from runner.sweeps.schedule import Ended


def report_command(directory: str, *, as_json: bool) -> int:
    """Print the table, and write `results.csv`, the plots and `best` anew.

    Raises:
        ConfigError: the directory is no sweep's.
    """
    sweep = Path(directory)
    if as_json:
        print(json.dumps(as_plain(rows_of(sweep, read_record(sweep))), indent=2))
    else:
        report(sweep, ())
    return 0


def report(sweep: Path, failures: Sequence[Ended]) -> None:
    """Print the results, the best first, and every failure with its log; write them into the sweep's directory."""
    record = read_record(sweep)
    rows = rows_of(sweep, record)
    print(f"\n{safe_lines(table(rows, record.monitor))}")
    if seeds := list(over_seeds(rows)):
        print(f"\n{safe_lines(_seeds(seeds, record.monitor))}")
    write_results(sweep, rows, record.monitor)
    plots = write_plots(sweep, rows, record.monitor)
    print(f"\n{sweep / RESULTS}{f', {len(plots)} plots in {sweep}/plots' if plots else ''}")
    if record.metrics:
        count, names = sum(row.optimal for row in rows), ", ".join(record.metrics)
        print(f"{count} of {len(rows)} runs (*) are beaten by none in {names}")
    elif rows and rows[0].metric is not None:
        print(f"best: {sweep / rows[0].name} (also {sweep / BEST})")
    for failure in failures:
        print(f"FAILED {safe(failure.job.name)}: {failure.reason}; its log: {failure.job.log}")


def _seeds(groups: Sequence[tuple[object, int, float, float]], monitor: str) -> str:
    lines = [["over seeds", "n", f"mean {monitor}", "deviation"]]
    for values, count, mean, deviation in groups:
        assert isinstance(values, dict)
        name = ", ".join(f"{key}={value}" for key, value in values.items()) or "all"
        lines.append([name, str(count), f"{mean:.5g}", f"{deviation:.2g}"])
    return aligned(lines)


def safe_lines(text: str) -> str:
    """Return lines whose control characters cannot reach the terminal."""
    return "\n".join(safe(line) for line in text.splitlines())
