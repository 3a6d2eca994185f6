"""A job of a sweep: one run in its own directory, and whether it needs to run."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from runner.run_directory.status import read_status
from runner.small_files import open_regular, read_entries

LOGS = "logs"
_TAIL = 4096  # bytes


@dataclass(frozen=True)
class Job:
    """One run of a sweep."""

    directory: Path
    overrides: Sequence[str]
    """Its overrides, without name and resume."""
    kind: str = ""
    """Equal in jobs that differ only in their seed."""
    goal: tuple[str, str] = ("", "")
    """The metric that ranks it, and `min` or `max`."""

    @property
    def name(self) -> str:
        """The job's name within the sweep."""
        return self.directory.name

    @property
    def log(self) -> Path:
        """The file that receives its output; it outlives the job's directory."""
        return self.directory.parent / LOGS / f"{self.name}.log"

    def said(self) -> list[str]:
        """Return the last lines of its log that are not blank; none without a log."""
        try:
            with open_regular(self.log) as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
                text = file.read(_TAIL).decode(errors="replace")
        except (OSError, ValueError):
            return []
        return [line for line in text.splitlines() if line.strip()]


class Need(Enum):
    """What a job needs, by the state of its directory."""

    nothing = "finished"
    more = "to be resumed"
    again = "failed before, to be run again"
    all = "to be run"


class Rerun(Enum):
    """Which jobs start over although their directories hold a run."""

    none = "none"
    failed = "failed"
    all = "all"


def need_of(job: Job) -> Need:
    """Return what the job needs; the directory's name holds the config's hash, so a run in it is this job's."""
    status = read_status(job.directory)
    if status is None:
        return Need.all
    if status.state == "finished":
        return Need.nothing
    return Need.again if status.state == "failed" else Need.more


def code_of(directory: Path) -> tuple[Any, Any] | None:
    """Return the commit and the uncommitted changes that a run was made with, None if unknown."""
    try:
        environment = read_entries(directory / "environment.json")
        return environment["git_commit"], environment["git_diff"]
    except (OSError, ValueError, KeyError):
        return None


def made_by_other_code(job: Job, now: Mapping[str, Any]) -> bool:
    """Return whether a finished job ran another commit, or other uncommitted changes, than those here now."""
    then = code_of(job.directory)
    return then is not None and then != (now["git_commit"], now["git_diff"])
