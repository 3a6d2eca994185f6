"""Changes of an attempt that ended before its first checkpoint: the next attempt applies them."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from runner.checkpoint.facts import facts
from runner.checkpoint.listing import StepFile, by_name, located
from runner.run_directory.attempts import FOLDER, Attempt, file_of, read_attempts
from runner.wiring.config.flat import flatten
from runner.wiring.resume.rules import Change
from runner.wiring.resume.stored_config import read_config


@dataclass(frozen=True)
class Pending:
    """An attempt that resumed a checkpoint whose config lacks its changes."""

    run_directory: Path
    attempt: Attempt

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """Its effective config; raises CheckpointRefused if it holds more than values."""
        return read_config("\n".join(self.attempt.config), file_of(self.run_directory, self.attempt.attempt))

    def beyond(self, changes: Sequence[Change]) -> list[Change]:
        """Return the changes that this attempt had not made."""
        made = flatten(self.config)
        return [change for change in changes if change.now != made.get(change.key)]

    def notices(self, changes: Sequence[Change]) -> list[str]:
        """Return the line that names this attempt's own changes, if any."""
        others = self.beyond(changes)
        keys = ", ".join(change.key for change in changes if change not in others)
        if not keys:
            return []
        name = f"{FOLDER}/{file_of(self.run_directory, self.attempt.attempt).name}"
        return [f"no checkpoint holds the changes of {name} yet, so they apply again: {keys}; rewind=true drops them"]


def newest_pending(run_directory: Path, checkpoint: Path) -> Pending | None:
    """Return the newest attempt from this checkpoint, or a later one, whose changes the checkpoint lacks."""
    environment, at = facts(checkpoint).get("environment"), located(checkpoint, run_directory)
    token = environment.get("attempt") if isinstance(environment, dict) else None
    attempts = read_attempts(run_directory)
    writer = next((one.attempt for one in attempts if one.token == token), 0)
    later = (one for one in reversed(attempts) if one.attempt > writer and at <= _began(one))
    return next((Pending(run_directory, attempt) for attempt in later), None)


def _began(attempt: Attempt) -> StepFile:
    """Return where an attempt began; one without a file of its own run sorts before all files of that step."""
    path = Path(attempt.checkpoint or "")
    return by_name(path) or StepFile(attempt.step, 0 if attempt.checkpoint is None else sys.maxsize, path)
