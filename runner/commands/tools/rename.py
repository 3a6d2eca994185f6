"""`python -m runner rename`: another name for a run or a sweep, which goes on under it."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from runner.commands.tools.listing.at_rest import check_at_rest
from runner.commands.tools.listing.run import Run, runs_below
from runner.errors import ConfigError, NameTaken, NotWritable
from runner.files import Disk, make_directory, replace_text
from runner.run_directory.names import OUTPUTS, check_name, name_of
from runner.run_directory.ownership import Ownership
from runner.run_directory.status import FILE
from runner.small_files import Malformed, read_entries
from runner.sweeps.results.table import RECORD
from runner.text import printable

_POINTERS = {"parent.json": "checkpoint", "warm_start.json": "path"}
"""The records of other runs that name a file of this one, with the entry that does."""


def rename_command(old: str, new: str) -> int:
    """Rename the directory of a run, or of a whole sweep, within `outputs/`, in one step.

    Forks and warm-started runs that name a file of it in their records name it by its new path then.

    Raises:
        RunnerError: it is no run, it trains, it is a job of a sweep, or the name is invalid or taken.
    """
    source = _source(old)
    target = _target(new)
    _check_place(source, target)
    with Ownership(patience=0.0) as ownership:
        for run in _runs(source):
            check_at_rest(run)
        ownership.take(source)
        _move(source, target)
    pointers = list(_follow(source, target))
    print(printable(f"{source} is now {target}"))
    for path in pointers:
        print(printable(f"{path} names it by its new name, too"))
    if (command := Run(target).continue_with if (target / FILE).is_file() else None) is not None:
        print(f"to go on: {printable(command)}")
    return 0


def _source(text: str) -> Path:
    """Return the directory of the run or sweep that a path or a name means."""
    place = next((path for path in (Path(text), OUTPUTS / text) if _holds(path)), None)
    if place is None:
        raise ConfigError(f"{text:.200} is neither a run nor a sweep; python -m runner list shows the runs in outputs")
    if name_of(place) is None:
        raise ConfigError(
            f"{place} is not below outputs/ of this directory; repeat this command in the directory whose outputs/ it "
            "is in"
        )
    return place


def _holds(path: Path) -> bool:
    return (path / FILE).is_file() or (path / RECORD).is_file()


def _target(text: str) -> Path:
    """Return the directory below `outputs/` that a name, or a path below `outputs/`, means."""
    path = Path(text)
    inside = path.is_absolute() or path.parts[:1] == OUTPUTS.parts
    name = name_of(path) if inside else text
    if name is None:
        raise ConfigError(
            f"{text:.200} is not below outputs/; give a name, such as my_run, and it will be outputs/my_run"
        )
    check_name(name)
    return OUTPUTS / name


def _check_place(source: Path, target: Path) -> None:
    if _is_there(target):
        raise NameTaken(f"{target} is taken already; give another name, or rename that one first")
    if sweep := _above(source, RECORD):
        raise ConfigError(
            f"{source} is a job of the sweep {sweep}, which finds it by its name; rename the sweep as a whole, or give "
            f"a copy of the job a name of its own: cp -a {source} {target}"
        )
    if other := _above(target, RECORD) or _above(target, FILE):
        raise ConfigError(
            f"{target} would be inside of {other}, which holds runs or files of its own; give another name"
        )


def _is_there(path: Path) -> bool:
    if path.is_symlink() or not path.is_dir():
        return path.is_symlink() or path.exists()
    return any(path.iterdir())


def _above(path: Path, name: str) -> Path | None:
    """Return the nearest directory above a path, within `outputs/`, that has a file of this name."""
    within = (parent for parent in path.parents if name_of(parent) is not None)
    return next((parent for parent in within if (parent / name).is_file()), None)


def _runs(source: Path) -> Iterator[Run]:
    """Yield the directory itself and every run below it."""
    yield Run(source)
    yield from (run for run in runs_below(str(source)) if run.path != source)


def _move(source: Path, target: Path) -> None:
    disk = Disk()
    try:
        make_directory(target.parent, disk)
        os.rename(source, target)  # fails if somebody has filled the target since
        for folder in {source.parent, target.parent}:
            disk.sync_directory(folder)
    except OSError as error:
        raise NotWritable(
            f"{source} could not become {target}: {error.strerror or error}; give another name, or fix the permissions"
        ) from error


def _follow(source: Path, target: Path) -> Iterator[Path]:
    """Rewrite and yield the records below `outputs/` that name a file of the renamed directory."""
    for run in runs_below(str(OUTPUTS)):
        for name, key in _POINTERS.items():
            path = run.path / name
            with suppress(OSError, Malformed):
                entries = read_entries(path)
                if (moved := _moved(entries.get(key), source, target)) is not None:
                    replace_text(path, json.dumps({**entries, key: moved}, indent=2) + "\n")
                    yield path


def _moved(text: object, source: Path, target: Path) -> str | None:
    """Return what a path is after the renaming, as relative or absolute as before; None if it stays."""
    if not isinstance(text, str):
        return None
    place, former = Path(os.path.abspath(text)), Path(os.path.abspath(source))
    if not place.is_relative_to(former):
        return None
    new = target.absolute() if Path(text).is_absolute() else target
    return str(new / place.relative_to(former))
