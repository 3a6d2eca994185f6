"""Giving a built run the state of its checkpoint, with what the user changed put on top."""

from collections.abc import Sequence
from typing import Any

from torch.optim.lr_scheduler import LambdaLR

from runner.checkpoint.format import SUFFIX, read_entries, restore, restore_part
from runner.errors import ConfigError
from runner.loop.state import TrainState, part_name
from runner.optim.schedules import rebase, recompute
from runner.wiring.build import trust_everything_typed, trust_in_files
from runner.wiring.changes import Change
from runner.wiring.start import Start
from runner.wiring.targets import Trust


def trust_of(start: Start, config: dict[str, Any]) -> Trust:
    """Return whose classes this start may build: all that was typed, fewer where a file is involved."""
    if start.checkpoint is None or not start.pinned:
        return trust_everything_typed(config)
    return trust_in_files(start.typed_targets, config["trust"])


def check_monitor(config: dict[str, Any], learner: Any) -> None:
    """Raise ConfigError if the monitored metric is none that the learner's evaluation returns."""
    names = [f"val/{name}" for name in learner.metrics]
    if (monitor := config["checkpoint"]["monitor"]) not in names:
        raise ConfigError(f"checkpoint.monitor={monitor} is not measured; choose one of {', '.join(names)}")


def resume(state: TrainState, start: Start, config: dict[str, Any]) -> Sequence[Change]:
    """Restore everything strictly, apply the changed keys, and return them with the learning rate's.

    Raises:
        CheckpointError: the file is damaged, refused, or of another run.
    """
    assert start.checkpoint is not None
    entries = read_entries(start.checkpoint)
    parts = state.parts()
    changed = {change.key for change in start.changes}
    if any(key.startswith("scheduler") for key in changed):
        _match_schedulers(state, entries, start, config)
    restore(parts, entries, start.checkpoint)
    if changed & {"checkpoint.monitor", "checkpoint.mode"}:
        _forget_best(state)
    before = state.learning_rate()
    _apply(state, changed, config)
    after = state.learning_rate()
    if before == after:
        return start.changes
    return [*start.changes, Change("(learning rate)", f"{before:.6g}", f"{after:.6g}", "of the coming step")]


def _forget_best(state: TrainState) -> None:
    """What was best by another metric is no measure for this one."""
    progress = state.progress
    progress.best_metric, progress.best_step, progress.evaluations_without_improvement = None, None, 0


def _match_schedulers(state: TrainState, entries: dict[str, Any], start: Start, config: dict[str, Any]) -> None:
    """A scheduler that was chosen anew begins where the run stands, whatever the old one had stored."""
    for name in [key for key in entries if key.endswith(f"scheduler{SUFFIX}")]:
        stored = entries.pop(name)
        part = state.parts().get(name.removesuffix(SUFFIX))
        if part is not None and _kinds_agree(stored, part.state_dict()):
            restore_part(name.removesuffix(SUFFIX), part, stored, start.checkpoint)  # type: ignore[arg-type]
    for name, scheduler in state.schedulers.items():
        if hasattr(scheduler, "last_epoch") and scheduler.last_epoch == 0:
            counts_epochs = config["scheduler"].get("unit") == "epoch" and not isinstance(scheduler, LambdaLR)
            scheduler.last_epoch = entries["epoch" if counts_epochs else "global_step"]
        entries[f"{part_name(name, 'scheduler')}{SUFFIX}"] = scheduler.state_dict()


def _kinds_agree(stored: Any, own: Any) -> bool:
    return isinstance(stored, dict) and set(stored) == set(own)


def _apply(state: TrainState, changed: set[str], config: dict[str, Any]) -> None:
    optimizer_keys = {key.removeprefix("optimizer.") for key in changed if key.startswith("optimizer.")}
    moves = optimizer_keys or {"epochs", "max_steps"} & changed or any(k.startswith("scheduler") for k in changed)
    if not moves:
        return
    for name, optimizer in state.optimizers.items():
        scheduler = state.schedulers.get(name)
        for key in optimizer_keys & config["optimizer"].keys() - {"lr", "_target_"}:
            for group in optimizer.param_groups:
                value = config["optimizer"][key]
                group[key] = tuple(value) if isinstance(value, list) else value
        if "lr" in optimizer_keys:
            rebase(optimizer, scheduler, config["optimizer"]["lr"])
        if isinstance(scheduler, LambdaLR):
            recompute(optimizer, scheduler)
