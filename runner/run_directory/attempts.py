"""`attempts/`: what each attempt of a run was told, its effective config, and the step from which that holds.

A checkpoint never changes, so what a resume changes is a fact of the run until a checkpoint has it.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from runner.errors import ConfigError
from runner.files import Disk, make_directory, remove_stale_temporaries, write_durably
from runner.records import Malformed, read_as

FOLDER = "attempts"
_OURS = re.compile(r"([0-9]{4}|[1-9][0-9]{4,8})\.json")


@dataclass(frozen=True)
class Attempt:
    """One attempt as its file says it."""

    attempt: int
    token: str
    """Stands in the checkpoints that it wrote, and in no other run's."""
    started: str
    step: int
    """The step from which its config holds."""
    checkpoint: str | None
    """The name of the checkpoint in its own run that it began with."""
    overrides: Sequence[str]
    """The overrides as they were typed."""
    config: Sequence[str]
    """The lines of its effective config, YAML."""


def file_of(run_directory: Path, number: int) -> Path:
    """Return where the record of an attempt stands."""
    return run_directory / FOLDER / f"{number:04d}.json"


def next_number(run_directory: Path, former: int) -> int:
    """Return the number of the attempt after the `former` one and after all that are on record."""
    return 1 + max([former, *(attempt.attempt for attempt in read_attempts(run_directory))])


def new_token() -> str:
    """Return what no other attempt is called, of this run or another."""
    return uuid4().hex[:12]


def write_attempt(run_directory: Path, attempt: Attempt, disk: Disk | None = None) -> None:
    """Put an attempt on record, durably: when this returns, no later start forgets what it changed."""
    disk = disk or Disk()
    path = file_of(run_directory, attempt.attempt)
    make_directory(path.parent, disk)
    remove_stale_temporaries(path.parent)
    content = json.dumps(asdict(attempt), indent=2).encode() + b"\n"
    write_durably(path, lambda file: _write(file, content), disk)


def read_attempts(run_directory: Path) -> list[Attempt]:
    """Return the attempts on record, in their order.

    Raises:
        ConfigError: a record cannot be understood, so that what its attempt changed is not known.
    """
    found = [read_attempt(path) for path in records(run_directory)]
    return sorted(found, key=lambda attempt: attempt.attempt)


def records(run_directory: Path) -> list[Path]:
    """Return the files that are records of attempts by their names."""
    folder = run_directory / FOLDER
    return [path for path in sorted(folder.iterdir()) if _OURS.fullmatch(path.name)] if folder.is_dir() else []


def read_attempt(path: Path) -> Attempt:
    """Return what a record says; raises as `read_attempts`."""
    try:
        attempt = read_as(path, Attempt)
        if attempt.attempt != int(path.stem):
            raise Malformed(f"it is of attempt {attempt.attempt}")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path} is no record of an attempt ({error}), so what that attempt changed is not known; "
            "restore the file, or remove it to go on with what the checkpoint says"
        ) from error
    return attempt


def _write(file: BinaryIO, content: bytes) -> None:
    file.write(content)
