"""The results of a sweep, read from its files: a table, best job first, and `results.csv`."""

import csv
import io
import json
import math
import os
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from runner.errors import ConfigError
from runner.files import replace_text, temporary_beside
from runner.run_directory.names import is_segment
from runner.run_directory.status import State, Status, read_status
from runner.small_files import read_as
from runner.sweeps.results.objectives import at_best, optimal
from runner.text import aligned, cell
from runner.tracking.csv_file import read_rows

RECORD = "sweep.json"
RESULTS = "results.csv"
BEST = "best"
FINISHED, FAILED, PRUNED, NOT_STARTED = State.finished.value, State.failed.value, "pruned", "not started"
_LARGEST = 16 << 20  # bytes of a record of about 50,000 jobs


@dataclass(frozen=True)
class Record:
    """`sweep.json`: what a sweep knows before any of its jobs has run."""

    monitor: str
    mode: str
    jobs: Mapping[str, Sequence[str]]
    """The overrides of each job, by name."""
    metrics: Mapping[str, str] = field(default_factory=dict)
    """With several objectives, the mode of each."""
    pruned: Collection[str] = ()
    """The jobs that a search pruned."""
    kinds: Mapping[str, str] = field(default_factory=dict)
    """For each job, a key shared by jobs that differ only in their seed."""


@dataclass(frozen=True)
class Row:
    """The result of one job."""

    name: str
    values: Mapping[str, str]
    """The swept values: each key that differs between the jobs."""
    state: str
    step: int
    metric: float | None
    """The best value so far."""
    test: Mapping[str, float]
    objectives: Mapping[str, float] = field(default_factory=dict)
    """With several objectives, their values at the best checkpoint."""
    optimal: bool = False
    """Whether it is Pareto-optimal."""
    kind: str = ""
    """Equal in jobs that differ only in their seed."""
    reason: str | None = None
    """Why it failed or stopped."""

    @property
    def is_result(self) -> bool:
        """Whether the job finished with a metric, and so can be ranked."""
        return self.state == FINISHED and self.metric is not None


def write_record(sweep: Path, record: Record) -> None:
    """Write `sweep.json`, and keep the jobs of earlier commands in it."""
    former = read_record(sweep) if (sweep / RECORD).exists() else Record("", "", {})
    jobs = {**former.jobs, **{name: list(overrides) for name, overrides in record.jobs.items()}}
    pruned = sorted({*former.pruned, *record.pruned})
    kinds = {**former.kinds, **record.kinds}
    entries = vars(record) | {"jobs": jobs, "metrics": dict(record.metrics), "pruned": pruned, "kinds": kinds}
    replace_text(sweep / RECORD, json.dumps(entries, indent=2))


def check_goal(sweep: Path, monitor: str, mode: str) -> None:
    """Raise ConfigError if the directory holds a run, or a sweep for another metric or mode."""
    if read_status(sweep) is not None:
        raise ConfigError(f"{sweep} holds a run, not a sweep; use another name=")
    former = read_record(sweep) if (sweep / RECORD).exists() else None
    if former is not None and former.jobs and (former.monitor, former.mode) != (monitor, mode):
        raise ConfigError(
            f"{sweep} is a sweep for the {former.mode} of {former.monitor}, not for the {mode} of {monitor}; "
            "use another name="
        )


def read_record(sweep: Path) -> Record:
    """Return the record of a sweep.

    Raises:
        ConfigError: the directory holds no sweep, or its record is damaged.
    """
    try:
        record = read_as(sweep / RECORD, Record, largest=_LARGEST)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ConfigError(f"{sweep} holds no sweep (no {RECORD}); name a directory made by -m") from error
    except (OSError, ValueError) as error:
        raise _unreadable(sweep, error) from error
    if not {record.mode, *record.metrics.values()} <= {"min", "max"}:
        raise _unreadable(sweep, f"its mode is {record.mode[:50]!r}")
    if odd := [name for name in (*record.jobs, *record.pruned) if not is_segment(name)]:
        raise _unreadable(sweep, f"{odd[0][:50]!r} is not a job's name")
    return record


def _unreadable(sweep: Path, why: object) -> ConfigError:
    return ConfigError(f"{sweep / RECORD} cannot be read ({why}); move it away and repeat the sweep's command")


def rows_of(sweep: Path, record: Record) -> list[Row]:
    """Return one row per job: finished ones best first, then unfinished ones, then those without a metric."""
    varied = _varied(record.jobs)
    rows = [_row(sweep, name, varied[name], record) for name in record.jobs]
    rows = [_searched(sweep, row, record) for row in rows]
    sign = 1.0 if record.mode == "min" else -1.0
    rows.sort(key=lambda row: (row.metric is None, not row.is_result, sign * (row.metric or 0.0)))
    return _ranked(rows, record.metrics) if record.metrics else rows


def _ranked(rows: Sequence[Row], metrics: Mapping[str, str]) -> list[Row]:
    """Return the rows with the Pareto-optimal ones marked and first."""
    best = optimal([row.objectives if row.state == FINISHED else {} for row in rows], metrics)
    marked = [replace(row, optimal=one) for row, one in zip(rows, best, strict=True)]
    return sorted(marked, key=lambda row: not row.optimal)


def _searched(sweep: Path, row: Row, record: Record) -> Row:
    """Return the row with its state and objectives as a search has them."""
    state = PRUNED if row.name in record.pruned and row.state == "interrupted" else row.state
    return replace(row, state=state, objectives=at_best(sweep / row.name, list(record.metrics)))


def _row(sweep: Path, name: str, values: Mapping[str, str], record: Record) -> Row:
    """Return the result of a job, without the value of a metric other than the sweep's."""
    status = read_status(sweep / name)
    if status is None:
        return Row(name, values, NOT_STARTED, 0, None, {}, kind=record.kinds.get(name, ""))
    metric = _metric(status) if status.monitor in (None, record.monitor) else None
    test, kind = dict(status.test or {}), record.kinds.get(name, "")
    return Row(name, values, status.state, status.step, metric, test, kind=kind, reason=status.reason)


def _metric(status: Status) -> float | None:
    value = status.best_metric
    return value if isinstance(value, (int, float)) and math.isfinite(value) else None


def _varied(jobs: Mapping[str, Sequence[str]]) -> dict[str, dict[str, str]]:
    """Return for each job its values of the keys that differ between the jobs."""
    pairs = {name: dict(text.lstrip("+~").partition("=")[::2] for text in own) for name, own in jobs.items()}
    keys = dict.fromkeys(key for values in pairs.values() for key in values)
    differing = [key for key in keys if len({values.get(key, "") for values in pairs.values()}) > 1]
    return {name: {key: values[key] for key in differing if key in values} for name, values in pairs.items()}


def table(rows: Sequence[Row], monitor: str) -> str:
    """Return the rows as aligned text."""
    keys = list(dict.fromkeys(key for row in rows for key in row.values))
    tests = list(dict.fromkeys(f"test/{key}" for row in rows for key in row.test))
    goals = _objectives(rows)
    lines = [["", *keys, *(goals or [f"best {monitor}"]), *tests, "step", "state", "job"]]
    for place, row in enumerate(rows, 1):
        metric = ["" if value is None else f"{value:.5g}" for value in _metrics(row, goals)]
        measured = [f"{row.test[key[5:]]:.5g}" if key[5:] in row.test else "" for key in tests]
        values = [row.values.get(key, "") for key in keys]
        rank = f"{place}{'*' * row.optimal}" if row.is_result or row.optimal else "-"
        lines.append([rank, *values, *metric, *measured, str(row.step), row.state, row.name])
    return aligned(lines)


def _objectives(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row.objectives))


def _metrics(row: Row, objectives: Sequence[str]) -> list[float | None]:
    """Return the values that rank the row: several objectives, or the one metric."""
    return [row.objectives.get(name) for name in objectives] or [row.metric]


def write_results(sweep: Path, rows: Sequence[Row], monitor: str) -> None:
    """Write `results.csv`, and point the link `best` at the best run."""
    keys = list(dict.fromkeys(key for row in rows for key in row.values))
    tests = list(dict.fromkeys(key for row in rows for key in row.test))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    goals = _objectives(rows)
    more = ["pareto"] if goals else []
    head = ["job", *keys, *(goals or [monitor]), *(f"test/{key}" for key in tests), "step", "state", *more]
    lines: list[list[object]] = [list(head)]
    for row in rows:
        values = [row.values.get(key, "") for key in keys]
        measured = [repr(row.test[key]) if key in row.test else "" for key in tests]
        metric = ["" if value is None else repr(value) for value in _metrics(row, goals)]
        more = [str(row.optimal).lower()] if goals else []
        lines.append([row.name, *values, *metric, *measured, row.step, row.state, *more])
    writer.writerows([cell(value) for value in line] for line in lines)
    replace_text(sweep / RESULTS, text.getvalue())
    if not goals:
        _point(sweep / BEST, rows[0].name if rows and rows[0].is_result else None)


def _point(link: Path, name: str | None) -> None:
    """Point a link at a job, or remove it without one."""
    if not link.is_symlink() and (name is None or link.exists()):
        return  # no link, or a file of the user's own
    temporary = temporary_beside(link)
    with suppress(OSError):
        if name is None:
            link.unlink()
        else:
            temporary.symlink_to(name)
            os.replace(temporary, link)


def numeric(text: str) -> float | None:
    """Return a swept value as a number, None if it is not one."""
    return float(text) if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text) else None


def curve(run: Path, column: str) -> tuple[list[int], list[float]]:
    """Return the steps and values of a column of a run's `metrics.csv`."""
    rows = [row for row in read_rows(run / "metrics.csv") if column in row]
    return [int(row["step"]) for row in rows], [float(row[column]) for row in rows]


def as_plain(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the rows as plain values, for JSON."""
    return [asdict(row) for row in rows]
