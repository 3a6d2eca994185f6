"""Refuse links in a run directory, through which a run would write, or prune, elsewhere."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

from runner.errors import LeadsElsewhere

_FOLDERS = (
    "checkpoints", "attempts", "overrides", "tensorboard", "profile", ".hydra",
    "logs", "plots", "superseded",
)  # fmt: skip
_FILES = (
    ".lock", "last.tar", "best.tar", "status.json", "config.yaml", "metrics.csv", "run.log", "environment.json",
    "warm_start.json", "parent.json",
    "sweep.json", "multirun.yaml", "results.csv", "study.db", "optimization_results.yaml",
)  # fmt: skip
_POINTERS = ("last.tar", "best.tar")
_MANIFEST = "manifest.json"  # of a sharded checkpoint
_WRITTEN_IN_PLACE = (".lock", "metrics.csv", "run.log", "study.db", "logs", "plots")
_WHOLE_RUNS = "superseded"  # of a sweep: nothing writes into the runs in it


def check_inside(directory: Path) -> None:
    """Check that every file of a run or sweep is really in its directory; the directory itself may be a link.

    Raises:
        LeadsElsewhere: a file or folder is a link, a pipe or a device, or a file written in place has a second
            hard link.
    """
    for name in _FILES:
        path = directory / name
        if (status := _status(path)) is None or _is_pointer_within(path, status, directory):
            continue
        if _is_copied_pointer(path, status):
            _check_below(path)
        else:
            _check(path, status, stat.S_ISREG, "file")
            if name in _WRITTEN_IN_PLACE:
                check_alone(path, status)
    for name in _FOLDERS:
        if (status := _status(directory / name)) is not None:
            _check(directory / name, status, stat.S_ISDIR, "folder")
            if name != _WHOLE_RUNS:
                _check_below(directory / name)


def check_alone(path: Path, status: os.stat_result) -> None:
    """Raise `LeadsElsewhere` for a file with a second hard link, which a write in place would change too."""
    if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
        raise LeadsElsewhere(
            f"{path} has a second hard link, whose file this run would change too; replace it by a "
            f"copy (cp {path.name} new && mv new {path.name}), and run the same command again"
        )


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _is_pointer_within(path: Path, status: os.stat_result, directory: Path) -> bool:
    """Return whether a path is a link to a checkpoint of the run, as in a copied run; nothing writes through it."""
    pointer = path.name in _POINTERS and stat.S_ISLNK(status.st_mode)
    return pointer and path.resolve().is_relative_to(directory.resolve())


def _is_copied_pointer(path: Path, status: os.stat_result) -> bool:
    """Return whether a path is what a copy that follows links makes of a pointer to a sharded checkpoint."""
    return path.name in _POINTERS and stat.S_ISDIR(status.st_mode) and (path / _MANIFEST).is_file()


def _check_below(folder: Path, levels: int = 2) -> None:
    for path in folder.iterdir():
        if (status := _status(path)) is None:  # pruned since the listing
            continue
        if stat.S_ISDIR(status.st_mode) and levels > 1:
            _check_below(path, levels - 1)
        elif not stat.S_ISDIR(status.st_mode):
            _check(path, status, stat.S_ISREG, "file")
            if folder.name in _WRITTEN_IN_PLACE:
                check_alone(path, status)


def _check(path: Path, status: os.stat_result, is_wanted: Callable[[int], bool], wanted: str) -> None:
    if not is_wanted(status.st_mode):
        found = "a link" if stat.S_ISLNK(status.st_mode) else f"not a regular {wanted}"
        raise LeadsElsewhere(
            f"{path} is {found}, but a run uses only real files and folders of its own; replace it by the {wanted} "
            "itself, or move it away, and run the same command again"
        )
