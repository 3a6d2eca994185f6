"""`python -m runner prune`: the checkpoints that can go, and how much space they take; deletes them only if told to."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from runner.checkpoint.best import metric_of, standing
from runner.checkpoint.listing import BEST, FOLDER, LAST, SUPERSEDED, newest_valid, step_files
from runner.checkpoint.policies import Mode, Retention, Saved, retentions
from runner.checkpoint.sharded.folder import remove_checkpoint
from runner.checkpoint.sharded.manifest import is_sharded
from runner.commands.tools.listing.at_rest import check_at_rest, in_use
from runner.commands.tools.listing.run import Run, run_at, runs_below
from runner.errors import CheckpointMissing, ConfigError, NotWritable, RunInUse, RunnerError
from runner.files import Disk
from runner.run_directory.ownership import Ownership
from runner.run_directory.status import FILE
from runner.text import printable

_SET_ASIDE = re.compile(r"(step_[0-9]{10,16}|best|last)(\.[0-9]{1,9})?\.tar")


@dataclass(frozen=True)
class Keep:
    """What stays, besides the newest valid checkpoint, the best one and the pinned ones."""

    last: int = 2
    best: int = 1
    every: int | None = None
    superseded: bool = True
    """Whether to keep what a rewind has set aside."""

    def policies(self, mode: Mode) -> list[Retention]:
        """Return the policies of a run whose metric has this mode."""
        return retentions(mode, last=max(1, self.last), best=max(1, self.best), every=self.every)


@dataclass(frozen=True)
class Plan:
    """What would go of one run."""

    run: str
    checkpoints: Sequence[str] = ()
    kept: int = 0
    left_alone: str | None = None
    """Why nothing of the run is touched."""


def prune_command(paths: Sequence[str], keep: Keep, *, yes: bool, as_json: bool) -> int:
    """Print which checkpoints of runs, or of all runs below directories, can go; with `yes`, delete them.

    Raises:
        RunnerError: a path that is no directory, a named run that trains or holds links, a disk that refuses.
    """
    plans = [plan for path in paths for plan in _plans(path, keep)]
    size = _space([Path(one) for plan in plans for one in plan.checkpoints])
    planned = plans
    if yes:
        plans = [_carried_out(plan, keep) for plan in plans]
        size = size if all(map(_is_whole, planned, plans)) else 0
    if as_json:
        print(json.dumps({"runs": [asdict(plan) for plan in plans], "bytes": size, "deleted": yes}, indent=2))
    else:
        print("\n".join(map(printable, _as_text(plans, size, yes))))
    return 0


def _plans(path: str, keep: Keep) -> Iterator[Plan]:
    """Yield the plan of a run, or of every run below a directory; only the latter pass over a run that trains."""
    if (Path(path) / FILE).is_file():
        check_at_rest(run := run_at(path))
        yield _plan(run, keep)
        return
    for run in runs_below(path):
        try:
            check_at_rest(run)
            yield _plan(run, keep)
        except RunnerError as error:
            yield Plan(str(run.path), left_alone=str(error))


def _plan(run: Run, keep: Keep) -> Plan:
    """Return what would go of a run; every checkpoint of its own that a resume or `best.tar` needs is kept."""
    mode, monitor = _goal(run)
    saved = [Saved(file.step, file.path, metric_of(file.path, monitor)) for file in step_files(run.path)]
    kept: set[Path] = set().union(*(policy.keep(saved) for policy in keep.policies(mode)))
    doomed = [one.path for one in saved if one.path not in kept and not _is_pointed_at(one.path, run.path)]
    if doomed:
        valid = _valid(run.path, monitor, mode)
        doomed = [path for path in doomed if path not in valid]
    aside = [] if keep.superseded else list(_superseded(run.path))
    return Plan(str(run.path), [str(path) for path in (*doomed, *aside)], len(saved) - len(doomed))


def _goal(run: Run) -> tuple[Mode, str]:
    """Return the mode and the name of the run's metric.

    Raises:
        ConfigError: they are unknown, so nothing says which checkpoint is the best.
    """
    mode, monitor = run.settings.get("checkpoint.mode"), run.settings.get("checkpoint.monitor")
    if mode not in Mode.__members__ or not isinstance(monitor, str):
        raise ConfigError(
            f"{run.path} has no readable config, so its best checkpoint is unknown and nothing of it is pruned; "
            f"python -m runner verify {run.path} tells what is wrong"
        )
    return Mode[mode], monitor


def _is_pointed_at(path: Path, run: Path) -> bool:
    """Return whether `last.tar` or `best.tar` is this checkpoint, as another name of the file or as a link."""
    return any((run / name).exists() and path.samefile(run / name) for name in (LAST, BEST))


def _valid(run: Path, monitor: str, mode: Mode) -> set[Path]:
    """Return the newest valid checkpoint and the best valid one, whatever the newest and the best are.

    Raises:
        CheckpointMissing: none is valid.
    """
    newest, passed_over = newest_valid(run)
    if newest is None:
        raise CheckpointMissing(
            f"{run} has no valid checkpoint, so nothing of it is pruned; python -m runner verify {run} tells what is "
            f"wrong with its {len(passed_over)}"
        )
    best = standing(newest, monitor=monitor, mode=mode).best
    return {newest} | ({best.path} if best else set())


def _superseded(run: Path) -> Iterator[Path]:
    folder = run / FOLDER / SUPERSEDED
    for path in sorted(folder.iterdir()) if folder.is_dir() and not folder.is_symlink() else ():
        ours = _SET_ASIDE.fullmatch(path.name) and not path.is_symlink() and (path.is_file() or is_sharded(path))
        if ours and not path.with_suffix(".pin").exists():
            yield path


def _space(paths: Sequence[Path]) -> int:
    """Return the bytes that deleting these frees: a file that has another name as well frees none."""
    names: dict[tuple[int, int], int] = {}
    status: dict[tuple[int, int], os.stat_result] = {}
    for file in (file for path in paths for file in (path.iterdir() if path.is_dir() else [path])):
        with suppress(OSError):
            one = file.lstat()
            key = one.st_dev, one.st_ino
            names[key], status[key] = names.get(key, 0) + 1, one
    return sum(one.st_blocks * 512 for key, one in status.items() if names[key] >= one.st_nlink)


def _carried_out(plan: Plan, keep: Keep) -> Plan:
    """Delete what a plan says and still holds for, while no other process can start the run."""
    if not plan.checkpoints:
        return plan
    run = Path(plan.run)
    with Ownership(patience=0.0) as ownership:
        try:
            ownership.take(run)
        except RunInUse:  # begun since it was planned
            return Plan(plan.run, left_alone=str(in_use(run)))
        still = _plan(Run(run), keep)
        gone = [path for path in plan.checkpoints if path in still.checkpoints]
        _delete(run, gone)
    return Plan(plan.run, gone, still.kept)


def _delete(run: Path, checkpoints: Sequence[str]) -> None:
    disk = Disk()
    try:
        for path in checkpoints:
            remove_checkpoint(Path(path), disk)
        disk.sync_directory(run / FOLDER)
    except OSError as error:
        raise NotWritable(
            f"{error.filename or run} could not be deleted: {error.strerror or error}; fix its permissions, and repeat "
            "the command for what is left"
        ) from error


def _is_whole(planned: Plan, done: Plan) -> bool:
    return list(planned.checkpoints) == list(done.checkpoints)


def _as_text(plans: Sequence[Plan], size: int, yes: bool) -> Iterator[str]:
    count = 0
    for plan in plans:
        count += len(plan.checkpoints)
        if plan.left_alone:
            yield f"{plan.run} is left alone: {plan.left_alone}"
        elif plan.checkpoints:
            yield f"{plan.run}: {len(plan.checkpoints)} {'deleted' if yes else 'can go'}, {plan.kept} kept"
            yield from (f"  {Path(path).relative_to(plan.run)}" for path in plan.checkpoints)
    freed = f"{size / 2**20:.1f} MiB"
    if not count:
        yield f"nothing to prune in {len(plans)} runs"
    else:
        yield (
            f"deleted {count} checkpoints: {freed} free" if yes else f"{count} checkpoints, {freed}; --yes deletes them"
        )
