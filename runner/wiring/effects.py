"""What changed keys do to a state that was restored: optimizer settings, schedule, horizon."""

from collections.abc import Mapping
from typing import Any

import torch
from torch.optim import Adam, Optimizer, RMSprop
from torch.optim.lr_scheduler import LambdaLR

from runner.loop.state import TrainState
from runner.optim import Plateau
from runner.optim.schedules import keep_rates, rebase, recompute
from runner.wiring.build import node_of

# What these optimizers make with a parameter's first step only, if a setting asks for it.
_BUFFERS = {"momentum": "momentum_buffer", "centered": "grad_avg", "amsgrad": "max_exp_avg_sq"}

Settings = Mapping[str, Mapping[str, Any]]
"""What each model's scheduler was built with, by attribute."""


def settings_of(state: TrainState) -> Settings:
    """Return the schedulers' settings as they were built, before a checkpoint's take their place."""
    return {name: dict(vars(scheduler)) for name, scheduler in state.schedulers.items()}


def apply_changes(state: TrainState, changed: set[str], config: dict[str, Any], built: Settings) -> None:
    """Bring changed keys of optimizer, scheduler and length into a restored state."""
    if not any(key.split(".")[0] in ("optimizer", "scheduler", "epochs", "max_steps") for key in changed):
        return
    chosen_anew = any(key == "scheduler" or key.endswith("._target_") for key in changed if key.startswith("scheduler"))
    for name, optimizer in state.optimizers.items():
        scheduler = state.schedulers.get(name)
        settings = _changed_settings(config, "optimizer", name, changed)
        for group in optimizer.param_groups:
            group |= {key: value for key, value in settings.items() if key != "lr"}
        if chosen_anew and not isinstance(scheduler, LambdaLR):  # nothing else undoes what the former one did
            for group in optimizer.param_groups:
                group["lr"] = group.get("initial_lr", group["lr"])
            keep_rates(optimizer, scheduler)
        _begin_buffers(optimizer)
        if "lr" in settings:
            rebase(optimizer, scheduler, settings["lr"])
        if isinstance(scheduler, LambdaLR):
            recompute(optimizer, scheduler)
        elif scheduler is not None:
            _set(scheduler, _changed_settings(config, "scheduler", name, changed), built[name])
        if isinstance(scheduler, Plateau):
            scheduler.recompute()


def _begin_buffers(optimizer: Optimizer) -> None:
    """Let what a changed setting asks for begin at zero, as it does in a new run."""
    if not isinstance(optimizer, (Adam, RMSprop)):
        return
    for group in optimizer.param_groups:
        wanted = [buffer for setting, buffer in _BUFFERS.items() if group.get(setting)]
        for parameter in group["params"]:
            for buffer in wanted if parameter in optimizer.state else ():
                optimizer.state[parameter].setdefault(buffer, torch.zeros_like(parameter))


def _set(scheduler: Any, changed: Mapping[str, Any], built: Mapping[str, Any]) -> None:
    """Give one of torch's own schedulers the changed settings, as its constructor had put them into attributes."""
    for key in changed:
        for attribute in {key, f"{key}s"} & built.keys():  # min_lr of ReduceLROnPlateau becomes min_lrs
            setattr(scheduler, attribute, built[attribute])


def _changed_settings(config: Mapping[str, Any], group: str, name: str, changed: set[str]) -> dict[str, Any]:
    """Return the changed settings of one model, whose options may be its own or those that all share."""
    own = node_of(config[group], name)
    prefix = f"{group}." if own is config[group] else f"{group}.{name}."
    settings = {key: value for key, value in own.items() if prefix + key in changed and key != "_target_"}
    return {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}


def position_scheduler(scheduler: Any, config: dict[str, Any], *, epoch: int, global_step: int) -> None:
    """Let a fresh scheduler stand where the run stands, in the unit that it counts."""
    if isinstance(scheduler, Plateau):
        scheduler.steps = global_step
    counts_epochs = config["scheduler"].get("unit") == "epoch" and not isinstance(scheduler, LambdaLR)
    scheduler.last_epoch = epoch if counts_epochs else global_step
