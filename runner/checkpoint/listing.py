"""List the checkpoints of a run directory, from the directory itself, without torch."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.checkpoint.facts import facts
from runner.checkpoint.reader.header import verified_header
from runner.checkpoint.sharded.manifest import is_sharded
from runner.errors import CheckpointError, CheckpointMissing

FOLDER = "checkpoints"
LAST = "last.tar"
BEST = "best.tar"
SUPERSEDED = "superseded"
_OURS = re.compile(r"step_([0-9]{10}|[1-9][0-9]{10,15})(?:\.([2-9]|[1-9][0-9]{1,8}))?\.tar")


_BEHIND = 10**9  # sorts after every file of a step


@dataclass(frozen=True, order=True)
class StepFile:
    """A checkpoint in the history of its run, ordered by step, then by the order of saving."""

    step: int
    number: int
    path: Path = field(compare=False)


def checkpoint_path(run_directory: Path, step: int, number: int = 1) -> Path:
    """Return the path of a step's checkpoint; a step that is saved again gets a new number, so no file is replaced."""
    suffix = "" if number == 1 else f".{number}"
    return run_directory / FOLDER / f"step_{step:010d}{suffix}.tar"


def by_name(path: Path) -> StepFile | None:
    """Return the checkpoint that a path names, None if the name is not ours."""
    match = _OURS.fullmatch(path.name)
    return StepFile(int(match[1]), int(match[2] or 1), path) if match else None


def run_directory_of(checkpoint: Path) -> Path:
    """Return the run directory of a checkpoint, or the directory that it is in."""
    return checkpoint.parent.parent if checkpoint.parent.name == FOLDER else checkpoint.parent


def step_files(run_directory: Path) -> list[StepFile]:
    """Return the checkpoints of a run, oldest first: only files and sharded directories with our names, no links."""
    folder = run_directory / FOLDER
    if folder.is_symlink() or not folder.is_dir():
        return []
    named = (by_name(path) for path in folder.iterdir())
    return sorted(file for file in named if file and _is_checkpoint(file.path) and not file.path.is_symlink())


def _is_checkpoint(path: Path) -> bool:
    return path.is_file() or is_sharded(path)


def steps(run_directory: Path) -> dict[int, Path]:
    """Return the newest checkpoint file of each step."""
    return {file.step: file.path for file in step_files(run_directory)}


def located(path: Path, run_directory: Path) -> StepFile:
    """Return which of a run's checkpoints a file is, also for a link or a copy such as `last.tar`.

    A file that is none of them comes after those of its step.

    Raises:
        CheckpointError: it cannot be read.
    """
    if path.parent.name == FOLDER and (named := by_name(path)):
        return named
    files = step_files(run_directory)
    if path.exists() and (linked := [file for file in files if file.path.samefile(path)]):
        return linked[0]
    said = facts(path)
    step = said.get("global_step")
    copied = (file for file in files if file.step == step and _says_the_same(file.path, said))
    return next(copied, StepFile(step if type(step) is int else 0, _BEHIND, path))


def _says_the_same(path: Path, said: Mapping[str, Any]) -> bool:
    with suppress(CheckpointError):
        return facts(path) == said
    return False


def candidates(run_directory: Path) -> Iterator[Path]:
    """Yield the files that a resume may use, newest first; the directory's listing is the authority.

    A pointer to a sharded checkpoint that is gone is one, too: the run is not one that has never saved.
    """
    yield from (file.path for file in reversed(step_files(run_directory)))
    pointers = (run_directory / LAST, run_directory / BEST)
    yield from (path for path in pointers if _lies_in(run_directory, path) or _leads_nowhere(path))


def named_checkpoints(run_directory: Path) -> list[Path]:
    """Return every path in a run directory with a checkpoint's name, valid or not."""
    pointers = (run_directory / LAST, run_directory / BEST)
    there = [path for path in pointers if path.exists() or path.is_symlink()]
    return [*sorted((run_directory / FOLDER).glob("*.tar")), *there]


def _lies_in(run_directory: Path, path: Path) -> bool:
    """Return whether a path is a checkpoint of the run, or a link to one."""
    return _is_checkpoint(path) and (not path.is_symlink() or path.resolve().is_relative_to(run_directory.resolve()))


def _leads_nowhere(path: Path) -> bool:
    return path.is_symlink() and not path.exists()


def pointer_in(run_directory: Path, name: str) -> Path | None:
    """Return `last.tar` or `best.tar` of a run, None if it is not there."""
    return run_directory / name if (run_directory / name).exists() else None


def newest_valid(run_directory: Path) -> tuple[Path | None, list[CheckpointError]]:
    """Return the newest valid checkpoint of a run, and why each newer one was skipped.

    The path is None when there is none; with an empty list, none was ever written.
    """
    passed_over: list[CheckpointError] = []
    for path in candidates(run_directory):
        try:
            _check_step(path)
        except CheckpointError as error:
            passed_over.append(error)
        else:
            return path, passed_over
    return None, passed_over


def is_run_directory(path: Path) -> bool:
    """Return whether a path is a directory, and not that of a sharded checkpoint."""
    return os.path.isdir(path) and not is_sharded(path)


def checkpoint_in(path: Path, preferred: str = BEST) -> Path:
    """Return a file's path as it is; for a run directory its `preferred` file, or else its newest valid checkpoint.

    Raises:
        CheckpointMissing: the directory has no valid checkpoint.
    """
    if not is_run_directory(path):
        return path
    if _lies_in(path, path / preferred):
        return path / preferred
    newest, passed_over = newest_valid(path)
    if newest is None:
        why = f" that is valid; the newest: {passed_over[0]}" if passed_over else "; name a run's directory, or a file"
        raise CheckpointMissing(f"{path} holds no checkpoint{why}")
    return newest


def _check_step(path: Path) -> None:
    named, step = by_name(path), verified_header(path).get("global_step")
    if named and step != named.step:
        raise CheckpointError(f"{path} holds step {step}, not the step in its name")
