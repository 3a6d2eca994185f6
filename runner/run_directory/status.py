"""`status.json`: how a run stands, always either the former text or the new one."""

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

from runner.files import is_alive, replace_text
from runner.records import read_as
from runner.run_directory.ownership import is_owned

FILE = "status.json"
EARLY_STOPPING = "early stopping"
"""The reason of a run that is finished before its length."""


class State(Enum):
    """How a run stands."""

    running = "running"
    finished = "finished"
    failed = "failed"
    interrupted = "interrupted"


@dataclass(frozen=True)
class Status:
    """What `status.json` holds; `state` is the name of a `State`."""

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
    """What `best_metric` is a value of."""


def write_status(run_directory: Path, status: Status) -> None:
    """Put the status into its file in one step; numbers that JSON does not know become null."""
    entries = asdict(status)
    entries["best_metric"] = _number(status.best_metric)
    entries["test"] = None if status.test is None else {name: _number(value) for name, value in status.test.items()}
    replace_text(run_directory / FILE, json.dumps(entries, indent=2) + "\n")


def put_failure(run_directory: Path, reason: str) -> None:
    """Say for a dead run, which could not say so itself, that it failed; where nothing can be written, do nothing."""
    if is_owned(run_directory):  # somebody has begun there since
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

    Dead it is when no process has its number, or one that does not hold the directory.
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
    """Return whether its texts are those that a run writes; the types are right already."""
    try:
        for time in (status.started, status.updated):
            datetime.fromisoformat(time)
    except ValueError:
        return False
    return status.state in State.__members__
