"""A job of a sweep: one run in a directory of its own, and what is to become of it."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from runner.records import open_regular, read_entries
from runner.run_directory.status import read_status

LOGS = "logs"
_TAIL = 4096  # bytes


@dataclass(frozen=True)
class Job:
    """One run of a sweep."""

    directory: Path
    words: Sequence[str]
    """Its own overrides, without name and resume."""
    kind: str = ""
    """Equal in jobs that differ, as far as it matters, in their seed only."""
    goal: tuple[str, str] = ("", "")
    """The metric that it is judged by, and whether `min` or `max` of it is wanted."""

    @property
    def name(self) -> str:
        """What it is called within the sweep."""
        return self.directory.name

    @property
    def log(self) -> Path:
        """Where all that it prints goes, whatever becomes of its directory."""
        return self.directory.parent / LOGS / f"{self.name}.log"

    def said(self) -> list[str]:
        """Return the latest lines of its log that are not blank, none if there is no log."""
        try:
            with open_regular(self.log) as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
                text = file.read(_TAIL).decode(errors="replace")
        except (OSError, ValueError):
            return []
        return [line for line in text.splitlines() if line.strip()]


class Need(Enum):
    """What a job needs, given what stands in its directory."""

    nothing = "finished"
    more = "to be resumed"
    again = "failed before, to be run again"
    all = "to be run"


class Rerun(Enum):
    """Which jobs begin anew although their directories hold something."""

    none = "none"
    failed = "failed"
    all = "all"


def need_of(job: Job) -> Need:
    """Return what the job needs; its directory's name tells the config, so what lies there is its own."""
    status = read_status(job.directory)
    if status is None:
        return Need.all
    if status.state == "finished":
        return Need.nothing
    return Need.again if status.state == "failed" else Need.more


def code_of(directory: Path) -> tuple[Any, Any] | None:
    """Return the commit and the changes on top of it that a run was made with, None if that is not known."""
    try:
        environment = read_entries(directory / "environment.json")
        return environment["git_commit"], environment["git_diff"]
    except (OSError, ValueError, KeyError):
        return None


def made_by_other_code(job: Job, now: Mapping[str, Any]) -> bool:
    """Return whether a finished job was made by another commit, or with other changes, than are here now."""
    then = code_of(job.directory)
    return then is not None and then != (now["git_commit"], now["git_diff"])
