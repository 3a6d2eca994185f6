"""`status.json`: the state of a run, written atomically."""

import json
import math
import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path

from runner.files import is_alive, replace_text_even_if_full
from runner.run_directory.ownership import is_owned
from runner.small_files import read_as

FILE = "status.json"
EARLY_STOPPING = "early stopping"
"""The reason of a run that finished before its length."""


class State(Enum):
    """The state of a run."""

    running = "running"
    finished = "finished"
    failed = "failed"
    interrupted = "interrupted"


@dataclass(frozen=True)
class Status:
    """The content of `status.json`; `state` is the name of a `State`."""

    state: str
    step: int
    epoch: int
    attempt: int
    reason: str | None
    best_metric: float | None
    pid: int
    host: str
    started: str
    updated: str
    test: Mapping[str, float] | None = None
    """The best checkpoint's metrics on the test split, once the run is finished."""
    monitor: str | None = None
    """The name of the metric in `best_metric`."""
    job: str | None = None
    """The torchrun job that the process belongs to, by which a restart finds its run."""


def write_status(run_directory: Path, status: Status) -> None:
    """Write the status, atomically unless the disk is full; numbers that JSON does not know become null."""
    entries = asdict(status)
    entries["best_metric"] = _number(status.best_metric)
    entries["test"] = None if status.test is None else {name: _number(value) for name, value in status.test.items()}
    replace_text_even_if_full(run_directory / FILE, json.dumps(entries, indent=2) + "\n")


def put_failure(run_directory: Path, reason: str) -> None:
    """Record the failure of a dead run, which could not do so itself; do nothing where the file cannot be written."""
    if is_owned(run_directory):  # a new process works there
        return
    now = datetime.now(UTC).isoformat(timespec="seconds")
    begun = Status("failed", 0, 0, 1, reason, None, os.getpid(), platform.node(), now, now)
    former = read_status(run_directory)
    status = begun if former is None else replace(former, state="failed", reason=reason, updated=now)
    with suppress(OSError):
        run_directory.mkdir(exist_ok=True)
        write_status(run_directory, status)


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def read_status(run_directory: Path) -> Status | None:
    """Return the status of a run, None if there is none to read; a dead owner's "running" is "interrupted".

    The owner is dead if no process has its pid, or if nobody holds the directory's lock.
    """
    try:
        status = read_as(run_directory / FILE, Status)
    except (OSError, ValueError):
        return None
    if not _is_valid(status):
        return None
    if status.state != "running" or status.host != platform.node():
        return status
    dead = not is_alive(status.pid) or is_owned(run_directory) is False
    return replace(status, state="interrupted") if dead else status


def _is_valid(status: Status) -> bool:
    """Return whether the strings are as a run writes them; the types are checked already."""
    try:
        for time in (status.started, status.updated):
            datetime.fromisoformat(time)
    except ValueError:
        return False
    return status.state in State.__members__
