"""Names of runs and jobs, which cannot leave `outputs/` or collide."""

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from uuid import uuid4

from runner.errors import ConfigError
from runner.places import local_path

OUTPUTS = Path("outputs")
"""Where runs live, below the current directory."""

_SEGMENT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")


def check_name(name: str) -> None:
    """Raise ConfigError unless `name` is made of safe segments separated by "/"."""
    if len(name) <= 1000 and not name.startswith("-") and all(map(is_segment, name.split("/"))):
        return
    raise ConfigError(
        f"name={name[:100]!r} is invalid; use letters, digits, '.', '_' and '-', in segments separated by '/' that "
        "do not begin with a dot"
    )


def is_segment(name: str) -> bool:
    """Return whether a name is a single safe segment."""
    return _SEGMENT.fullmatch(name) is not None


def name_of(directory: Path) -> str | None:
    """Return the name of a run from its directory, None if that is not below `outputs/`; either may be a link."""
    for place, root in (
        (Path(os.path.abspath(directory)), OUTPUTS.absolute()),
        (directory.resolve(), OUTPUTS.resolve()),
    ):
        if place != root and place.is_relative_to(root):
            return place.relative_to(root).as_posix()
    return None


def place_of(text: str, key: str) -> Path:
    """Return the directory below `outputs/` that `key` was set to.

    Raises:
        ConfigError: it is elsewhere, or its name is invalid.
    """
    directory = local_path(text, key)
    name = name_of(directory)
    if name is None:
        raise ConfigError(
            f"{key}={directory} is not below outputs/; use name=, or make outputs a link to another place"
        )
    check_name(name)
    return directory


def unique_name(job: str | None = None) -> str:
    """Return a time stamp that no other process draws, or no other `job`, whose restarts find it by `begun_by`."""
    return f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{digest_of(job)[:6] if job else uuid4().hex[:6]}"


def begun_by(job: str) -> Iterator[Path]:
    """Yield the directories of runs whose unique name may be this job's."""
    yield from OUTPUTS.glob(f"*_{digest_of(job)[:6]}")


def digest_of(identity: str) -> str:
    """Return the hash of a text for names and records."""
    return hashlib.sha256(identity.encode()).hexdigest()[:8]


def name_with(overrides: Sequence[str], digest: str) -> str:
    """Return the directory name of a job: its overrides, made safe, and the hash."""
    joined = ",".join(override.lstrip("+") for override in overrides).replace("=", "-")
    safe = re.sub(r"[^A-Za-z0-9._,-]", "_", joined).replace(",", "_")
    return f"{safe[:100].lstrip('.-') or 'job'}-{digest}"
