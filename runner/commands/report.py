"""`python -m runner report`: what came of a sweep, made again from its files."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner.records import read_text
from runner.run_directory.inside import check_inside
from runner.sweeps.plots import write_plots
from runner.sweeps.results import (
    BEST,
    RESULTS,
    Record,
    Row,
    aligned,
    as_plain,
    over_seeds,
    read_record,
    rows_of,
    table,
    write_results,
)
from runner.sweeps.schedule import Ended
from runner.text import printable
from runner.wiring.changes import flatten
from runner.wiring.inherited import read_config


def report_command(directory: str, *, as_json: bool) -> int:
    """Print the table, and write `results.csv`, the plots and `best` anew.

    Raises:
        ConfigError: the directory is no sweep's.
    """
    sweep = Path(directory)
    if as_json:
        print(json.dumps(as_plain(_rows(sweep, read_record(sweep))), indent=2))
    else:
        report(sweep, ())
    return 0


def report(sweep: Path, failures: Sequence[Ended]) -> None:
    """Print the results, the best first, and every failure with its log; write them into the sweep's directory."""
    record = read_record(sweep)
    check_inside(sweep)
    rows = _rows(sweep, record)
    print(f"\n{table(rows, record.monitor)}")
    if seeds := sorted(over_seeds(rows), key=lambda group: group[2], reverse=record.mode == "max"):
        print(f"\n{_seeds(seeds, record.monitor)}")
    write_results(sweep, rows, record.monitor)
    plots = write_plots(sweep, rows, record.monitor)
    print(f"\n{sweep / RESULTS}{f', {len(plots)} plots in {sweep}/plots' if plots else ''}")
    if record.metrics:
        count, names = sum(row.optimal for row in rows), ", ".join(record.metrics)
        print(printable(f"{count} of {len(rows)} runs (*) are beaten by none in {names}"))
    elif rows and rows[0].metric is not None:
        print(f"best: {sweep / rows[0].name} (also {sweep / BEST})")
    for failure in failures:
        print(printable(f"FAILED {failure.job.name}: {failure.reason}; its log: {failure.job.log}"))


def _rows(sweep: Path, record: Record) -> list[Row]:
    """Return a row a job, with its config's value where an earlier or later command swept another key."""
    rows = rows_of(sweep, record)
    keys = list(dict.fromkeys(key for row in rows for key in row.values))
    return [
        row if len(row.values) == len(keys) else replace(row, values=dict(_values(sweep, row, keys))) for row in rows
    ]


def _values(sweep: Path, row: Row, keys: Sequence[str]) -> Iterator[tuple[str, str]]:
    config = _config(sweep / row.name)
    for key in keys:
        if key in row.values:
            yield key, row.values[key]
        elif (value := config.get(key)) is not None and "${" not in str(value):
            yield key, str(value)


def _config(run: Path) -> Mapping[str, Any]:
    """Return the config of a run by its keys, of a job that did not start an empty one."""
    path = run / "config.yaml"
    try:
        return flatten(read_config(read_text(path), path))
    except (OSError, ValueError):
        return {}


def _seeds(groups: Sequence[tuple[object, int, float, float]], monitor: str) -> str:
    lines = [["over seeds", "n", f"mean {monitor}", "deviation"]]
    for values, count, mean, deviation in groups:
        assert isinstance(values, dict)
        name = ", ".join(f"{key}={value}" for key, value in values.items()) or "all"
        lines.append([name, str(count), f"{mean:.5g}", f"{deviation:.2g}"])
    return aligned(lines)
