"""Restore a built run from its checkpoint, with the user's changes on top."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from runner.checkpoint.best import standing
from runner.checkpoint.format import SUFFIX, read_entries, read_outline, read_plain, restore
from runner.checkpoint.policies import Mode
from runner.checkpoint.ranks import of_rank, world_size_of
from runner.checkpoint.reader.header import read_header
from runner.checkpoint.weights.match import Report
from runner.errors import CheckpointError, CheckpointMismatch, ConfigError
from runner.loop.state import TrainState, part_name
from runner.optim.agreement import check_scheduler
from runner.optim.buffers import take_buffers
from runner.places import local_path
from runner.strategy.processes import Processes
from runner.strategy.strategies import Strategy
from runner.wiring.build.checks import measured_of
from runner.wiring.build.identity import IDENTITY, compare_identities, transferred
from runner.wiring.build.loaders import Position
from runner.wiring.build.objects import Problem
from runner.wiring.resume.effects import Today, carry_over, settle
from runner.wiring.resume.rules import Change
from runner.wiring.resume.stored_config import read_config
from runner.wiring.schema import Config
from runner.wiring.schema.running import NoCheckpoint, WarmStart
from runner.wiring.starts.best_so_far import change_measure, keep_record
from runner.wiring.starts.start import Origin, Start
from runner.wiring.starts.tutorial import adopt
from runner.wiring.starts.warm_start import freeze_as_stored, take_weights, warm_start

_BETTER = dict.fromkeys(("loss", "error"), Mode.min) | dict.fromkeys(("accuracy", "acc", "auc", "f1", "iou"), Mode.max)


def check_monitor(options: NoCheckpoint, problem: Problem) -> None:
    """Raise ConfigError if no evaluation returns the monitored metric, or the mode would keep the worst."""
    names, monitor, mode = measured_of(problem.data, problem.learner), options.monitor, options.mode
    if monitor not in names:
        raise ConfigError(f"checkpoint.monitor={monitor} is not measured; choose one of {', '.join(names)}")
    better = _BETTER.get(monitor.rpartition("/")[2], mode)
    if mode is not better:
        raise ConfigError(
            f"checkpoint.mode={mode.value} would keep the worst {monitor}; add checkpoint.mode={better.value}"
        )


@dataclass(frozen=True)
class Loaded:
    """What a run starts from: the reports of a warm start, or this process's state in a checkpoint."""

    reports: Mapping[str, Report] = field(default_factory=dict)
    entries: dict[str, Any] = field(default_factory=dict)
    notices: Sequence[str] = ()
    of_this_rank: bool = False
    """Whether the entries are those that this very process, of as many, has written."""


def prepare_models(problem: Problem, start: Start, options: WarmStart, strategy: Strategy) -> Loaded:
    """Warm-start and freeze the models, before optimizers exist; return what was loaded.

    Raises:
        CheckpointError: a file is damaged or refused, or belongs to another model.
    """
    path, processes = start.checkpoint, strategy.processes
    if path is None:
        reports = processes.once(lambda: warm_start(problem.models, options) if options.path else {})
        if processes.size > 1:
            take_weights(problem.models, reports, processes)
        return Loaded(reports)
    if start.origin is Origin.adopted:
        return Loaded(entries=processes.once(lambda: read_plain(path)))
    entries = read_for(strategy, path)
    freeze_as_stored(problem.models, problem.learner, entries)
    own = of_rank(entries, path, rank=processes.rank, size=processes.size)
    if (wrote := world_size_of(entries, path)) == processes.size:
        return Loaded(entries=own, of_this_rank=True)
    notice = (
        f"{path.name} was written by {_count(wrote)} and goes on with {_count(processes.size)}: in the same order of "
        "the data, but no longer exactly"
    )
    return Loaded(entries=own, notices=[notice])


def read_for(strategy: Strategy, path: Path) -> dict[str, Any]:
    """Return, in every process, the entries of a checkpoint; what a strategy divides may stay in its shards."""
    read = read_outline if strategy.runs_together else read_entries
    return strategy.processes.once(lambda: read(path))


def _count(processes: int) -> str:
    return "one process" if processes == 1 else f"{processes} processes"


def check_data(
    start: Start,
    entries: dict[str, Any],
    identity: Mapping[str, Any],
    config: Config,
    size: int | None,
    processes: Processes,
) -> Start:
    """Return the start with notices about data that differ from the file's.

    If `resume_allow` names data of another size, a position amid an epoch is kept where it still exists.

    Raises:
        CheckpointMismatch: the data are others.
    """
    if start.checkpoint is None:
        named = config.warm_start.path
        source = None if named is None else local_path(named, "warm_start.path")
        said = [] if source is None or processes.rank else transferred(_said(source), identity, source)
    else:
        allowed = config.resume_allow
        said = compare_identities(entries.get(IDENTITY), identity, start.checkpoint, allowed=allowed)
        position = entries.get(f"data{SUFFIX}")
        free = any(key.split(".")[0] == "data" for key in allowed)
        if isinstance(position, dict) and size is not None:
            position.update(_fitting(position, size, free))
    return replace(start, notices=[*start.notices, *said])


def _fitting(position: Mapping[str, Any], size: int, free: bool) -> dict[str, int]:
    """Return a position in a map-style data set of another size, where the file's may be kept."""
    sample = position.get("sample")
    if type(sample) is not int or "shards" in position or (sample and not free):
        return {}
    return {"size": size, "sample": sample if sample < size else 0}


def _said(path: Path) -> Any:
    """Return the data identity in a warm start's file; None in another program's."""
    try:
        return read_header(path).get(IDENTITY)
    except CheckpointError:  # not an archive: another form of weights
        return None


def position(start: Start, entries: Mapping[str, Any]) -> Position:
    """Return the checkpoint's position; zero for a fresh start and for another program's file."""
    if start.checkpoint is None or start.origin is Origin.adopted:
        return Position()
    data = entries.get(f"data{SUFFIX}")
    sample = data.get("sample") if isinstance(data, Mapping) else None
    return Position(entries["global_step"], entries["epoch"], sample if type(sample) is int else 0)


def restore_state(
    state: TrainState, entries: dict[str, Any], *, start: Start, today: Today, strategy: Strategy
) -> Start:
    """Restore the state from the checkpoint, and return the start with notices about it.

    Raises:
        CheckpointMismatch: the checkpoint does not fit.
    """
    if start.checkpoint is None:
        return start
    if start.origin is Origin.adopted:
        notices = adopt(state, entries, start=start, today=today)
        return replace(start, notices=[*start.notices, *notices])
    options = today.config.checkpoint
    afresh = _match_learner(state, entries, start)
    changes = resume(state, entries, start, today, strategy)
    path = start.checkpoint
    found = strategy.processes.once(lambda: standing(path, monitor=options.monitor, mode=options.mode))
    if {change.key for change in changes} & {"checkpoint.monitor", "checkpoint.mode"}:
        change_measure(state, found.best, options.mode)
    notices = [*start.notices, *afresh, *keep_record(state, found.best, options.monitor)]
    return replace(start, changes=changes, standing=found, notices=notices)


def resume(
    state: TrainState, entries: dict[str, Any], start: Start, today: Today, strategy: Strategy
) -> Sequence[Change]:
    """Restore everything strictly, apply the changed keys, and return the changes with the learning rate's.

    Raises:
        CheckpointMismatch: the file belongs to another run.
    """
    assert start.checkpoint is not None
    former, path = entries, start.checkpoint
    if start.changes:
        entries = _adapted(state, entries, path, today)
    _check_schedulers(state, entries, path)
    restore_all(state, entries, path, strategy)
    settle(state)
    if not start.changes:
        return start.changes
    before, after = _first_rate(state, former, path), state.learning_rate()
    if before == after:
        return start.changes
    return [*start.changes, Change("(learning rate)", f"{before:.6g}", f"{after:.6g}", "at the next step")]


def _adapted(state: TrainState, entries: dict[str, Any], path: Path, today: Today) -> dict[str, Any]:
    """Return a file's entries, adapted to a config that differs from the file's."""
    former = read_config(entries["config"], path)
    if former.get("ema") != asdict(today.config.ema):
        entries = _match_averages(state, entries)
    return carry_over(entries, former, {name: state.models[name] for name in state.optimizers}, today, path)


def _first_rate(state: TrainState, entries: Mapping[str, Any], path: Path) -> float:
    """Return the value of `state.learning_rate` in a file."""
    key = f"{part_name(next(iter(state.optimizers)), 'optimizer')}{SUFFIX}"
    try:
        return float(entries[key]["param_groups"][0]["lr"])
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise CheckpointMismatch(f"{path} does not fit: its {key} has no learning rate") from error


def _check_schedulers(state: TrainState, entries: Mapping[str, Any], path: Path) -> None:
    for name, part in state.parts().items():
        if name.endswith("scheduler"):
            try:
                check_scheduler(part, entries.get(f"{name}{SUFFIX}"), steps=entries["global_step"])
            except ValueError as error:
                raise CheckpointMismatch(f"{path} does not fit: its {name}{SUFFIX} is invalid: {error}") from error


def restore_all(state: TrainState, entries: Mapping[str, Any], path: Path, strategy: Strategy) -> None:
    """Restore every part strictly, as the strategy places it; buffers take the file's shapes.

    Raises:
        CheckpointMismatch: see `checkpoint.format.restore`.
    """
    for name, part in state.parts().items():
        if isinstance(part, nn.Module):
            take_buffers(part, entries.get(f"{name}{SUFFIX}"))
    own = {f"{name}{SUFFIX}": part for name, part in state.parts().items()}
    placed = {key: strategy.localize(own[key], value, path) if key in own else value for key, value in entries.items()}
    restore(state.parts(), placed, path)


def _match_learner(state: TrainState, entries: dict[str, Any], start: Start) -> list[str]:
    """Start a learner afresh if the file lacks its state, and drop a state that today's learner does not have."""
    key = f"learner{SUFFIX}"
    changed = any(change.key.split(".")[0] == "learner" for change in start.changes)
    if state.learner is None and changed:
        entries.pop(key, None)
    if state.learner is None or key in entries or (IDENTITY in entries and not changed):
        return []
    entries[key] = state.learner.state_dict()
    return [f"{start.checkpoint} has no state of the learner, which starts afresh, so this is not exact"]


def _match_averages(state: TrainState, entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries with the configured averages; a new one starts from the restored weights."""
    entries = dict(entries)
    for name in state.models:
        key = f"{part_name(name, 'ema')}{SUFFIX}"
        if name not in state.averages:
            entries.pop(key, None)
        elif key not in entries:
            entries[key] = entries[f"{name}{SUFFIX}"]
    return entries
