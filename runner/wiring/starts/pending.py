"""What an attempt changed and no checkpoint has yet, since it ended before its first: the next one applies it."""

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
    """An attempt whose settings hold from a checkpoint on that does not have them."""

    run_directory: Path
    attempt: Attempt

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """Its effective config; CheckpointRefused as of any file that is more than values."""
        return read_config("\n".join(self.attempt.config), file_of(self.run_directory, self.attempt.attempt))

    def beyond(self, changes: Sequence[Change]) -> list[Change]:
        """Return those of the changes that it had not made."""
        made = flatten(self.config)
        return [change for change in changes if change.now != made.get(change.key)]

    def notices(self, changes: Sequence[Change]) -> list[str]:
        """Return the line that says which of the changes are its own, if any are."""
        others = self.beyond(changes)
        keys = ", ".join(change.key for change in changes if change not in others)
        if not keys:
            return []
        name = f"{FOLDER}/{file_of(self.run_directory, self.attempt.attempt).name}"
        return [f"no checkpoint has what {name} changed yet, so it is applied again: {keys}; rewind=true leaves it out"]


def newest_pending(run_directory: Path, checkpoint: Path) -> Pending | None:
    """Return the newest attempt from this checkpoint, or from a later one, whose settings the checkpoint lacks."""
    environment, at = facts(checkpoint).get("environment"), located(checkpoint, run_directory)
    token = environment.get("attempt") if isinstance(environment, dict) else None
    attempts = read_attempts(run_directory)
    writer = next((one.attempt for one in attempts if one.token == token), 0)
    later = (one for one in reversed(attempts) if one.attempt > writer and at <= _began(one))
    return next((Pending(run_directory, attempt) for attempt in later), None)


def _began(attempt: Attempt) -> StepFile:
    """Return where an attempt began; one that took no file of its own run did so before all of that step."""
    path = Path(attempt.checkpoint or "")
    return by_name(path) or StepFile(attempt.step, 0 if attempt.checkpoint is None else sys.maxsize, path)
