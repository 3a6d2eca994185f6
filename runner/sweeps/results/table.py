"""What came of a sweep, from its files alone: a table, the best first, and `results.csv`."""

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
from runner.records import read_as
from runner.run_directory.names import is_segment
from runner.run_directory.status import State, Status, read_status
from runner.sweeps.results.objectives import at_best, optimal
from runner.text import aligned, cell
from runner.tracking.csv_file import read_rows

RECORD = "sweep.json"
RESULTS = "results.csv"
BEST = "best"
FINISHED, FAILED, PRUNED, NOT_STARTED = State.finished.value, State.failed.value, "pruned", "not started"
_LARGEST = 16 << 20  # bytes of a record; of some 50,000 jobs


@dataclass(frozen=True)
class Record:
    """What is known of a sweep before any of its jobs has run: `sweep.json`."""

    monitor: str
    mode: str
    jobs: Mapping[str, Sequence[str]]
    """The overrides of each job, by its name."""
    metrics: Mapping[str, str] = field(default_factory=dict)
    """Of several objectives the modes, by their names."""
    pruned: Collection[str] = ()
    """The jobs that a search found not worth going on with."""
    kinds: Mapping[str, str] = field(default_factory=dict)
    """Of each job what it has in common with those that differ in their seed only."""


@dataclass(frozen=True)
class Row:
    """What came of one job."""

    name: str
    values: Mapping[str, str]
    """What was swept: the value of each key that is not the same in all jobs."""
    state: str
    step: int
    metric: float | None
    """The best value so far."""
    test: Mapping[str, float]
    objectives: Mapping[str, float] = field(default_factory=dict)
    """The values of several objectives, at the best checkpoint."""
    optimal: bool = False
    """Whether no other job beats it, by several objectives."""
    kind: str = ""
    """Equal in jobs that differ in their seed only."""
    reason: str | None = None
    """Why it failed, or was stopped."""

    @property
    def is_result(self) -> bool:
        """Whether it can be compared: only what finished is a result."""
        return self.state == FINISHED and self.metric is not None


def write_record(sweep: Path, record: Record) -> None:
    """Put a sweep on record; jobs of an earlier command stay on it."""
    former = read_record(sweep) if (sweep / RECORD).exists() else Record("", "", {})
    jobs = {**former.jobs, **{name: list(words) for name, words in record.jobs.items()}}
    pruned = sorted({*former.pruned, *record.pruned})
    kinds = {**former.kinds, **record.kinds}
    entries = vars(record) | {"jobs": jobs, "metrics": dict(record.metrics), "pruned": pruned, "kinds": kinds}
    replace_text(sweep / RECORD, json.dumps(entries, indent=2))


def check_goal(sweep: Path, monitor: str, mode: str) -> None:
    """Raise ConfigError if the directory holds what cannot stand in one table with runs that are judged so."""
    if read_status(sweep) is not None:
        raise ConfigError(f"{sweep} holds a run, not a sweep; take another name=")
    former = read_record(sweep) if (sweep / RECORD).exists() else None
    if former is not None and former.jobs and (former.monitor, former.mode) != (monitor, mode):
        raise ConfigError(
            f"{sweep} is a sweep for the {former.mode} of {former.monitor}, which cannot be compared with the {mode} "
            f"of {monitor}; take another name="
        )


def read_record(sweep: Path) -> Record:
    """Return what is on record of a sweep.

    Raises:
        ConfigError: the directory is no sweep's.
    """
    try:
        record = read_as(sweep / RECORD, Record, largest=_LARGEST)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ConfigError(f"{sweep} holds no sweep (no {RECORD} to read there); name a directory made by -m") from error
    except (OSError, ValueError) as error:
        raise _unreadable(sweep, error) from error
    if not {record.mode, *record.metrics.values()} <= {"min", "max"}:
        raise _unreadable(sweep, f"its mode is {record.mode[:50]!r}")
    if odd := [name for name in (*record.jobs, *record.pruned) if not is_segment(name)]:
        raise _unreadable(sweep, f"{odd[0][:50]!r} is no name of a job")
    return record


def _unreadable(sweep: Path, why: object) -> ConfigError:
    return ConfigError(f"{sweep / RECORD} cannot be read ({why}); move it away, and repeat the sweep's command")


def rows_of(sweep: Path, record: Record) -> list[Row]:
    """Return a row a job, the best that finished first, below them the others, and those without a metric last."""
    varied = _varied(record.jobs)
    rows = [_row(sweep, name, varied[name], record) for name in record.jobs]
    rows = [_searched(sweep, row, record) for row in rows]
    sign = 1.0 if record.mode == "min" else -1.0
    rows.sort(key=lambda row: (row.metric is None, not row.is_result, sign * (row.metric or 0.0)))
    return _ranked(rows, record.metrics) if record.metrics else rows


def _ranked(rows: Sequence[Row], metrics: Mapping[str, str]) -> list[Row]:
    """Return the rows with those first that no other finished one beats, and marked."""
    best = optimal([row.objectives if row.state == FINISHED else {} for row in rows], metrics)
    marked = [replace(row, optimal=one) for row, one in zip(rows, best, strict=True)]
    return sorted(marked, key=lambda row: not row.optimal)


def _searched(sweep: Path, row: Row, record: Record) -> Row:
    """Return the row with what is to be known of the job of a search."""
    state = PRUNED if row.name in record.pruned and row.state == "interrupted" else row.state
    return replace(row, state=state, objectives=at_best(sweep / row.name, list(record.metrics)))


def _row(sweep: Path, name: str, values: Mapping[str, str], record: Record) -> Row:
    """Return what came of a job; a value of another metric than the sweep compares is none."""
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
    """Return for each job the keys that differ between the jobs, with its values."""
    pairs = {name: dict(word.lstrip("+~").partition("=")[::2] for word in words) for name, words in jobs.items()}
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
    """Return what the row is judged by: several objectives, or the one metric."""
    return [row.objectives.get(name) for name in objectives] or [row.metric]


def write_results(sweep: Path, rows: Sequence[Row], monitor: str) -> None:
    """Write `results.csv`, and let `best` point at the best run."""
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
    """Let a link point at a job; without one there is no link."""
    if not link.is_symlink() and (name is None or link.exists()):
        return  # there is none, or something of the user's own
    temporary = temporary_beside(link)
    with suppress(OSError):
        if name is None:
            link.unlink()
        else:
            temporary.symlink_to(name)
            os.replace(temporary, link)


def numeric(text: str) -> float | None:
    """Return the number that a swept value is, None if it is none."""
    return float(text) if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text) else None


def curve(run: Path, column: str) -> tuple[list[int], list[float]]:
    """Return the steps and values of a column of a run's `metrics.csv`."""
    rows = [row for row in read_rows(run / "metrics.csv") if column in row]
    return [int(row["step"]) for row in rows], [float(row[column]) for row in rows]


def as_plain(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the rows for a program."""
    return [asdict(row) for row in rows]
