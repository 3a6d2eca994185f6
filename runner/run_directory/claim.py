"""Reserve a run directory: free, writable, one owner."""

import os
from pathlib import Path

from runner.errors import NameTaken, NotWritable
from runner.files import Disk, make_directory
from runner.run_directory.ownership import FILE as LOCK
from runner.run_directory.ownership import Ownership, check_unowned
from runner.run_directory.status import FILE as STATUS


def is_taken(directory: Path) -> bool:
    """Return whether the directory exists and is not empty; a lock file alone belongs to a run that never began."""
    if not directory.is_dir():
        return directory.exists()
    return any(path.name != LOCK for path in directory.iterdir())


def holds_run(directory: Path) -> bool:
    """Return whether a run was started there, however short."""
    return any((directory / name).exists() for name in (LOCK, STATUS, ".hydra"))


def check_free(directory: Path, way_on: str) -> None:
    """Raise `NameTaken`, with `way_on`, if the directory is taken; `RunInUse` if a process owns it."""
    if is_taken(directory):
        check_unowned(directory)
        raise NameTaken(f"{directory} {way_on} start over by deleting it, or take another name=")


def check_writable(directory: Path) -> None:
    """Raise `NotWritable` if the directory, or its nearest existing parent, cannot be written."""
    existing = next(p for p in (directory, *directory.absolute().parents) if p.exists())
    if not existing.is_dir():
        raise NameTaken(f"{existing} is a file, so {directory} cannot be made; take another name=")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise NotWritable(f"{existing} cannot be written by this user; fix its permissions, or start elsewhere")


def claim(directory: Path, ownership: Ownership) -> None:
    """Create the directory of a new run durably, and own it.

    Raises:
        RunInUse, NameTaken: another process works there, or did.
    """
    make_directory(directory, Disk())
    ownership.take(directory)
    if is_taken(directory):
        raise NameTaken(
            f"{directory} was taken by another process just now; go on there with the same command and resume=auto, "
            "or take another name="
        )
    ownership.sign()
