"""Continue from another program's general checkpoint, written by the recipe of PyTorch's tutorial.

https://docs.pytorch.org/tutorials/beginner/saving_loading_models.html
"""

import inspect
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import open_dict
from torch import nn
from torch.optim import Optimizer

from runner.checkpoint.format import restore_part
from runner.checkpoint.reader.entries import states
from runner.checkpoint.weights.match import strip_wrappers
from runner.errors import CheckpointMismatch, ConfigError
from runner.loop.state import TrainState
from runner.optim.agreement import is_known, is_numbers
from runner.optim.schedules import Horizon, keep_rates
from runner.wiring.build.updating import build_updating, node_of, trained
from runner.wiring.config.compose import checked
from runner.wiring.overrides.arguments import parse
from runner.wiring.resume.carrying import Setup, carry_optimizer, same, setup_of
from runner.wiring.resume.effects import Today, position_scheduler, settle
from runner.wiring.starts.start import Start


def adopt(state: TrainState, entries: Mapping[str, Any], *, start: Start, today: Today) -> list[str]:
    """Restore what the file has, its `epoch` being the index of the last finished one; return a notice of the rest.

    The optimizer keeps the file's settings, except those that the command line sets; the config of the start takes
    them over.

    Raises:
        CheckpointMismatch: the file belongs to another model or optimizer.
        ConfigError: the file has finished all epochs already.
    """
    path = start.checkpoint
    assert path is not None
    if set(state.models) != {"model"}:
        raise CheckpointMismatch(f"{path} has one model, and this config {', '.join(state.models)}; use warm_start")
    model, optimizer, scheduler = state.models["model"], state.optimizers["model"], state.schedulers.get("model")
    restore_part("model", model, _weights(model, entries, path), path)
    for average in state.averages.values():
        average.load_state_dict(model.state_dict())
    built = setup_of(optimizer, scheduler, trained("model", model, today.learner))
    stored = _as_told(entries["optimizer_state_dict"], built, [o.key_or_group for o in parse(start.overrides)])
    if is_known(optimizer):
        optimizer, scheduler = _with_settings(state, _settings(stored, optimizer), start, today)
    restore_part("optimizer", optimizer, stored, path)
    _count(state, entries, path, today.horizon)
    keep_rates(optimizer, scheduler)
    if hasattr(scheduler, "last_epoch"):
        counters = {"epoch": state.progress.epoch, "global_step": state.progress.global_step}
        position_scheduler(scheduler, node_of(today.config.scheduler, "model"), **counters)
    settle(state)
    lacks = sorted(state.parts().keys() - {"model", "optimizer"} - states(entries).keys())
    return [f"{path} lacks {', '.join(lacks)}: they start afresh at its epoch {entries['epoch']}, so this is not exact"]


def _as_told(stored: Any, built: Setup, keys: Sequence[str]) -> Any:
    """Return the optimizer's state with the settings that the command line names, as built, group by group."""
    named = {key.removeprefix("optimizer.") for key in keys if key.startswith("optimizer.")}
    named |= {"initial_lr"} if "lr" in named else set()
    unlike = [{key: value for key, value in group.items() if key not in named} for group in built.groups]
    try:
        held = [{key: value for key, value in group.items() if key != "initial_lr"} for group in stored["param_groups"]]
        return carry_optimizer({**stored, "param_groups": held}, replace(built, groups=unlike), built, anew=False)
    except (KeyError, TypeError, ValueError, AttributeError):
        return stored  # of another optimizer; restoring it raises


_APART = ("params", "lr", "fused", "foreach", "capturable", "differentiable")


def _settings(stored: Any, optimizer: Optimizer) -> dict[str, Any]:
    """Return the settings of a stored optimizer that differ from this one's, as its class takes them."""
    try:
        group, ours = dict(stored["param_groups"][0]), optimizer.param_groups[0]
    except (KeyError, TypeError, ValueError, IndexError):
        return {}  # of another optimizer; restoring it raises
    taken = (key for key in inspect.signature(type(optimizer)).parameters if key in ours and key in group)
    changed = {key: group[key] for key in taken if key not in _APART and not same(group[key], ours[key])}
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in changed.items()
        if is_numbers(value) or type(value) is bool
    }


def _with_settings(state: TrainState, settings: Mapping[str, Any], start: Start, today: Today) -> tuple[Optimizer, Any]:
    """Rebuild the model's optimizer and scheduler with these settings, and store them in both configs."""
    node: Any = node_of(start.config.optimizer, "model")
    with open_dict(node):
        for key, value in settings.items():
            node[key] = value
    today.config.optimizer = checked(start.config).optimizer
    model = state.models["model"]
    made = build_updating(
        today.config, "model", model, trained("model", model, today.learner), horizon=today.horizon, trust=today.trust
    )
    state.optimizers["model"] = made[0]
    if made[1] is not None:
        state.schedulers["model"] = made[1]
    return made


def _weights(model: nn.Module, entries: Mapping[str, Any], path: Path) -> dict[str, Any]:
    stored = entries["model_state_dict"]
    if not isinstance(stored, Mapping) or not all(isinstance(name, str) for name in stored):
        raise CheckpointMismatch(f"{path} does not fit: its model_state_dict is a {type(stored).__name__}")
    names = strip_wrappers(model.state_dict(), stored)
    weights = {names[name]: value for name, value in stored.items()}
    if len(weights) != len(stored):
        raise CheckpointMismatch(f"{path} does not fit: its model_state_dict has names twice, with and without module.")
    return weights


def _count(state: TrainState, entries: Mapping[str, Any], path: Path, horizon: Horizon) -> None:
    """Set the counters to the end of the file's epoch."""
    progress = state.progress
    progress.epoch, progress.counts = entries["epoch"] + 1, {}  # nobody counted its samples
    progress.global_step = progress.epoch * horizon.epoch(str(path))
    progress.evaluated_at = progress.reported_at = progress.global_step
    if horizon.total_steps is not None and progress.global_step >= horizon.total_steps:
        raise ConfigError(
            f"{path} has finished {progress.epoch} epochs, as many as the run has; raise epochs or max_steps"
        )
    with suppress(KeyError, TypeError, ValueError):  # no loss, or not a number
        progress.loss = float(entries["loss"])
