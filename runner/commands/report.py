"""`python -m runner report`: what came of a sweep, made again from its files."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from runner.commands.text import safe
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
    rows = _rows(sweep, record)
    print(f"\n{safe_lines(table(rows, record.monitor))}")
    if seeds := sorted(over_seeds(rows), key=lambda group: group[2], reverse=record.mode == "max"):
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
        elif (value := _configured(config, key)) is not None:
            yield key, value


def _config(run: Path) -> Any:
    """Return the config of a run, an empty one of a job that did not start."""
    try:
        return OmegaConf.load(run / "config.yaml")
    except (OSError, YAMLError, OmegaConfBaseException):
        return OmegaConf.create()


def _configured(config: Any, key: str) -> str | None:
    """Return the value of a key, None if there is none or the key is a whole group."""
    try:
        value = OmegaConf.select(config, key)
    except OmegaConfBaseException:
        return None
    return None if value is None or OmegaConf.is_config(value) else str(value)


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
