"""`python -m runner report`: the results of a sweep, rebuilt from its files."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner.errors import DiskRefuses
from runner.files import refusal
from runner.run_directory.inside import check_inside
from runner.small_files import read_text
from runner.sweeps.jobs import Job
from runner.sweeps.results.means import Mean, over_seeds, unexplained
from runner.sweeps.results.plots import write_plots
from runner.sweeps.results.table import (
    BEST,
    FAILED,
    FINISHED,
    RESULTS,
    Record,
    Row,
    as_plain,
    read_record,
    rows_of,
    table,
    write_results,
)
from runner.sweeps.schedule import Ended
from runner.text import aligned, printable
from runner.wiring.config.compose import is_material
from runner.wiring.config.flat import flatten
from runner.wiring.resume.stored_config import read_config


def report_command(directory: str, *, as_json: bool) -> int:
    """Print the table, and rewrite `results.csv`, the plots and `best`.

    Raises:
        ConfigError: the directory holds no sweep.
    """
    sweep = Path(directory)
    record = read_record(sweep)
    rows = _rows(sweep, record)
    if as_json:
        print(json.dumps(as_plain(rows), indent=2))
        return 0
    failed = [row for row in rows if row.state == FAILED]
    _report(sweep, record, rows, [Ended(Job(sweep / row.name, ()), 1, row.reason or "", 0.0) for row in failed])
    return 0


def report(sweep: Path, failures: Sequence[Ended]) -> None:
    """Print the results, the best first, and every failure with its log; write the results into the sweep's directory.

    Raises:
        DiskRefuses: the results could not be written; raised after printing them.
    """
    record = read_record(sweep)
    failed = {failure.job.name for failure in failures}
    rows = [
        replace(row, state=FAILED) if row.name in failed and row.state != FINISHED else row
        for row in _rows(sweep, record)
    ]
    _report(sweep, record, rows, failures)


def _report(sweep: Path, record: Record, rows: Sequence[Row], failures: Sequence[Ended]) -> None:
    check_inside(sweep)
    print(f"\n{table(rows, record.monitor)}")
    if seeds := sorted(over_seeds(rows), key=lambda group: group.mean, reverse=record.mode == "max"):
        print(f"\n{_seeds(seeds, record.monitor)}")
    refused = _write(sweep, record, rows)
    if record.metrics:
        count, names = sum(row.optimal for row in rows), ", ".join(record.metrics)
        print(printable(f"{count} of {len(rows)} runs (*) are Pareto-optimal in {names}"))
    elif rows and rows[0].is_result:
        print(f"best: {sweep / rows[0].name} (also {sweep / BEST})")
    for failure in failures:
        print(printable(f"FAILED {failure.job.name}: {failure.reason}; its log: {failure.job.log}"))
    if refused is not None:
        raise refused


def _write(sweep: Path, record: Record, rows: Sequence[Row]) -> DiskRefuses | None:
    """Write the results, and print where; return the error if the disk refuses them."""
    try:
        write_results(sweep, rows, record.monitor)
        plots = write_plots(sweep, rows, record.monitor)
    except OSError as error:
        return refusal(error, sweep) or DiskRefuses(
            f"the results could not be written: {error}; correct it, and repeat this command"
        )
    print(f"\n{sweep / RESULTS}{f', {len(plots)} plots in {sweep}/plots' if plots else ''}")
    return None


def _rows(sweep: Path, record: Record) -> list[Row]:
    """Return a row per job, with config values for keys that differ between jobs without an override."""
    rows = rows_of(sweep, record)
    told = [key for row in rows for key in row.values]
    keys = list(dict.fromkeys([*told, *_differing([_config(sweep / name) for name in unexplained(rows)])]))
    return [
        row if len(row.values) == len(keys) else replace(row, values=dict(_values(sweep, row, keys))) for row in rows
    ]


def _differing(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the material keys whose values differ between configs."""
    keys = dict.fromkeys(key for config in configs for key in config if key != "seed" and is_material(key))
    return [key for key in keys if any(config.get(key) != configs[0].get(key) for config in configs)]


def _values(sweep: Path, row: Row, keys: Sequence[str]) -> Iterator[tuple[str, str]]:
    config = _config(sweep / row.name)
    for key in keys:
        if key in row.values:
            yield key, row.values[key]
        elif (value := config.get(key)) is not None and "${" not in str(value):
            yield key, str(value)


def _config(run: Path) -> Mapping[str, Any]:
    """Return a run's flat config, empty for a job that did not start."""
    path = run / "config.yaml"
    try:
        return flatten(read_config(read_text(path), path))
    except (OSError, ValueError):
        return {}


def _seeds(groups: Sequence[Mean], monitor: str) -> str:
    lines = [["over seeds", "n", f"mean {monitor}", "deviation"]]
    for group in groups:
        name = ", ".join(f"{key}={value}" for key, value in group.values.items()) or "all"
        count = str(group.jobs) if group.finished == group.jobs else f"{group.finished} of {group.jobs}"
        deviation = "" if group.deviation is None else f"{group.deviation:.2g}"
        lines.append([name, count, f"{group.mean:.5g}", deviation])
    return aligned(lines)
