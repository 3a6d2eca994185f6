"""Find the best valid checkpoint of a run, and the metric of `best.tar`."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.checkpoint.facts import facts
from runner.checkpoint.listing import BEST, LAST, StepFile, by_name, located, run_directory_of, step_files
from runner.checkpoint.policies import Mode, Saved, ranked
from runner.checkpoint.sharded.opening import verify
from runner.errors import CheckpointError


@dataclass(frozen=True)
class Standing:
    """The position of a restored state in the history of its run, and the best checkpoint up to it."""

    at: StepFile
    best: Saved | None
    """The best valid one, a file of this run or of its parent."""
    damaged: tuple[Path, ...] = ()
    """Files with a better metric that are damaged."""


def standing(checkpoint: Path, *, monitor: str, mode: Mode) -> Standing:
    """Return the standing of a checkpoint among the files of its run."""
    run = run_directory_of(checkpoint)
    at = located(checkpoint, run)
    damaged = []
    upto = sorted(file for file in [*step_files(run), *_unlisted(run, checkpoint)] if file <= at)
    for entry in ranked([Saved(file.step, file.path, metric_of(file.path, monitor)) for file in upto], mode):
        try:
            if not entry.path.samefile(checkpoint):  # verified before the restore
                verify(entry.path)
        except (CheckpointError, OSError):
            damaged.append(entry.path)
        else:
            return Standing(at, entry, tuple(damaged))
    return Standing(at, None, tuple(damaged))


def _unlisted(run: Path, checkpoint: Path) -> Iterator[StepFile]:
    """Yield the checkpoint itself and its run's `best.tar`, unless they are links to a listed file."""
    best = [run / BEST] if step_files(run) or checkpoint.name in (LAST, BEST) else []
    for path in dict.fromkeys((*best, checkpoint)):
        with suppress(CheckpointError, OSError):
            if path.exists() and (file := located(path, run)).path == path and by_name(path) is None:
                yield file


def claimed(run_directory: Path, monitor: str) -> tuple[float, int] | None:
    """Return the metric and step of `best.tar`; None if the file is missing or has no such metric."""
    try:
        said = facts(run_directory / BEST)
    except CheckpointError:
        return None
    value, step = _metric(said, monitor), said.get("global_step")
    return (value, step) if value is not None and type(step) is int else None


def metric_of(path: Path, monitor: str) -> float | None:
    """Return the monitored metric that a checkpoint holds, None if it holds none."""
    try:
        return _metric(facts(path), monitor)
    except CheckpointError:
        return None


def _metric(said: Mapping[str, Any], monitor: str) -> float | None:
    metrics = said.get("metrics")
    value = metrics.get(monitor) if isinstance(metrics, dict) else None
    return float(value) if isinstance(value, (int, float)) else None
