"""Taking a directory for a run: only a free one, only a writable one, and of two that want it one gets it."""

import os
from pathlib import Path

from runner.errors import NameTaken, NotWritable


def is_taken(directory: Path) -> bool:
    """Return whether the directory exists with something in it."""
    return directory.exists() and (not directory.is_dir() or any(directory.iterdir()))


def check_free(directory: Path, command_to_go_on: str) -> None:
    """Raise `NameTaken`, which shows the command that goes on there, if the directory is taken."""
    if is_taken(directory):
        raise NameTaken(
            f"{directory} exists already; go on there with {command_to_go_on}, start over by deleting it, "
            "or take another name="
        )


def check_writable(directory: Path) -> None:
    """Raise `NotWritable` if the directory, or where it is to be made, cannot be written."""
    existing = next(p for p in (directory, *directory.absolute().parents) if p.exists())
    if not existing.is_dir():
        raise NameTaken(f"{existing} is a file, so {directory} cannot be made; take another name=")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise NotWritable(f"{existing} cannot be written by this user; mend its permissions or start elsewhere")


def claim(directory: Path) -> None:
    """Make the directory of a new run.

    Raises:
        NameTaken: another process made it first.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    try:
        directory.mkdir()
    except FileExistsError as error:
        if is_taken(directory):
            raise NameTaken(f"{directory} was taken by another process just now; take another name=") from error
