"""`attempts/`: the overrides of each attempt, its effective config, and the step from which that holds.

A checkpoint never changes, so the changes of a resume are kept here until a checkpoint has them.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

from runner.errors import ConfigError
from runner.files import Disk, make_directory, remove_stale_temporaries, write_durably
from runner.small_files import Malformed, read_as, read_text

FOLDER = "attempts"
_OURS = re.compile(r"([0-9]{4}|[1-9][0-9]{4,8})\.json")


@dataclass(frozen=True)
class Attempt:
    """The record of one attempt."""

    attempt: int
    token: str
    """Marks the checkpoints of this attempt, and no others."""
    started: str
    step: int
    """The step from which its config holds."""
    checkpoint: str | None
    """The name of the checkpoint of this run that it resumed."""
    overrides: Sequence[str]
    """The overrides as they were typed."""
    config: Sequence[str]
    """The lines of its effective config, as YAML."""


def file_of(run_directory: Path, number: int) -> Path:
    """Return the path of an attempt's record."""
    return run_directory / FOLDER / f"{number:04d}.json"


def next_number(run_directory: Path, former: int) -> int:
    """Return the number after the `former` attempt and after every recorded one."""
    return 1 + max([former, *(attempt.attempt for attempt in read_attempts(run_directory))])


def new_token() -> str:
    """Return a token that no other attempt of any run has."""
    return uuid4().hex[:12]


def write_attempt(run_directory: Path, attempt: Attempt, disk: Disk | None = None) -> None:
    """Record an attempt durably, so that every later start knows its changes."""
    disk = disk or Disk()
    path = file_of(run_directory, attempt.attempt)
    make_directory(path.parent, disk)
    remove_stale_temporaries(path.parent)
    content = json.dumps(asdict(attempt), indent=2).encode() + b"\n"
    write_durably(path, lambda file: file.write(content), disk)


def read_attempts(run_directory: Path) -> list[Attempt]:
    """Return the recorded attempts, in order.

    Raises:
        ConfigError: a record is unreadable, so the changes of its attempt are unknown.
    """
    found = [read_attempt(path) for path in records(run_directory)]
    return sorted(found, key=lambda attempt: attempt.attempt)


def newest_config(run_directory: Path) -> list[str]:
    """Return the lines of the effective config of the newest attempt; of a run without a record, of `config.yaml`.

    Raises:
        ConfigError, OSError, Malformed: it cannot be read.
    """
    if numbers := [int(path.stem) for path in records(run_directory)]:
        return list(read_attempt(file_of(run_directory, max(numbers))).config)
    return read_text(run_directory / "config.yaml").splitlines()


def records(run_directory: Path) -> list[Path]:
    """Return the files with the name of a record."""
    folder = run_directory / FOLDER
    return [path for path in sorted(folder.iterdir()) if _OURS.fullmatch(path.name)] if folder.is_dir() else []


def read_attempt(path: Path) -> Attempt:
    """Return a record; raises as `read_attempts`."""
    try:
        attempt = read_as(path, Attempt)
        if attempt.attempt != int(path.stem):
            raise Malformed(f"it belongs to attempt {attempt.attempt}")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path} is not a record of an attempt ({error}), so the changes of that attempt are unknown; "
            "restore the file, or remove it to go on with the checkpoint's config"
        ) from error
    return attempt
