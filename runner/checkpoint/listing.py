"""Which checkpoints a run directory holds, read from the directory itself, without torch."""

import re
from collections.abc import Iterator
from pathlib import Path

from runner.checkpoint.header import read_header
from runner.checkpoint.integrity import verify
from runner.errors import CheckpointError

FOLDER = "checkpoints"
LAST = "last.tar"
BEST = "best.tar"
SUPERSEDED = "superseded"
_OURS = re.compile(r"step_([0-9]{10}|[1-9][0-9]{10,})\.tar")


def checkpoint_path(run_directory: Path, step: int) -> Path:
    """Return where the checkpoint of a step stands."""
    return run_directory / FOLDER / f"step_{step:010d}.tar"


def run_directory_of(checkpoint: Path) -> Path:
    """Return the directory of the run that a file lies in, if it lies in one."""
    return checkpoint.parent.parent if checkpoint.parent.name == FOLDER else checkpoint.parent


def steps(run_directory: Path) -> dict[int, Path]:
    """Return the checkpoint files of a run by their step: regular files of our own naming, nothing else."""
    folder = run_directory / FOLDER
    if folder.is_symlink() or not folder.is_dir():
        return {}
    named = ((_OURS.fullmatch(path.name), path) for path in folder.iterdir())
    return {int(match[1]): path for match, path in named if match and path.is_file() and not path.is_symlink()}


def candidates(run_directory: Path) -> Iterator[Path]:
    """Yield what a resume may take, the newest first; the directory's listing is the authority."""
    yield from (path for _, path in sorted(steps(run_directory).items(), reverse=True))
    yield from (path for path in (run_directory / LAST, run_directory / BEST) if _lies_in(run_directory, path))


def _lies_in(run_directory: Path, path: Path) -> bool:
    """Return whether it is a file of the run, be it by a link that leads to another one of its files."""
    return path.is_file() and (not path.is_symlink() or path.resolve().is_relative_to(run_directory.resolve()))


def newest_valid(run_directory: Path) -> tuple[Path | None, list[CheckpointError]]:
    """Return the newest undamaged checkpoint of a run, and why each newer one was passed over.

    The path is None when there is none; with an empty list, none was ever written.
    """
    passed_over: list[CheckpointError] = []
    for path in candidates(run_directory):
        try:
            verify(path)
            _check_step(path)
        except CheckpointError as error:
            passed_over.append(error)
        else:
            return path, passed_over
    return None, passed_over


def _check_step(path: Path) -> None:
    match = _OURS.fullmatch(path.name)
    step = read_header(path).get("global_step")
    if match and step != int(match[1]):
        raise CheckpointError(f"{path} holds step {step}, not the step of its name")
