"""A stored optimizer under a changed config: settings that the config changed are new, all others are the run's.

A change shows in what the two configs build: the groups and the scheduler of the run's own config are compared with
those of the new one. So a user's optimizer, whose constructor may make any groups, changes as it would in a new run,
and its moments follow their parameters by name.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from runner.errors import ConfigError

_APART = ("params", "param_names", "lr", "initial_lr")
_OF_ITS_COURSE = ("optimizer", "base_lrs", "last_epoch", "_step_count", "_last_lr")
_ABSENT = object()

Settings = dict[str, Any]


@dataclass(frozen=True)
class Setup:
    """The optimizer's groups and the scheduler that a config builds, before anything is restored."""

    names: list[list[str]]
    """The names of each group's parameters."""
    groups: list[Settings]
    scheduler: Settings
    """The scheduler's attributes; empty without a scheduler."""


def setup_of(optimizer: Optimizer, scheduler: Any, parameters: Iterable[tuple[str, nn.Parameter]]) -> Setup:
    """Return the setup of an optimizer and a scheduler built for these named parameters."""
    name_of = {parameter: name for name, parameter in parameters}
    names = [[name_of.get(parameter, "?") for parameter in group["params"]] for group in optimizer.param_groups]
    return Setup(names, [dict(group) for group in optimizer.param_groups], dict(vars(scheduler)) if scheduler else {})


def carry_optimizer(stored: Mapping[str, Any], was: Setup, now: Setup, *, anew: bool) -> dict[str, Any]:
    """Return the stored state in the groups of `now`, where `was` is what the run's own config builds.

    If the scheduler is chosen `anew`, the rates restart from the base rates.

    Raises:
        ConfigError: other parameters are trained, or parameters with different settings join one group.
        ValueError: the stored groups are not those of the run's own config.
    """
    held = stored["param_groups"]
    if [len(group["params"]) for group in held] != [len(names) for names in was.names]:
        raise ValueError("its parameter groups are not those that its config builds")
    home: dict[str, tuple[int, Any]] = {}
    for index, (group, names) in enumerate(zip(held, was.names, strict=True)):
        numbers = zip(group.get("param_names") or names, group["params"], strict=True)
        home |= {name: (index, number) for name, number in numbers}
    if other := sorted(home.keys() ^ {name for names in now.names for name in names}):
        raise ConfigError(
            f"these settings train other parameters than the run does, such as {other[0]}; "
            "leave them as they are, or start a new run with warm_start.path"
        )
    groups = []
    for names, built in zip(now.names, now.groups, strict=True):
        sources = [(was.groups[index], held[index]) for index in sorted({home[name][0] for name in names})]
        group = {"params": [home[name][1] for name in names]}
        group |= {"param_names": list(names)} if "param_names" in built else {}
        groups.append({**group, **_rates(built, sources, anew=anew), **_settings(built, sources)})
    return {**stored, "param_groups": groups}


def _settings(built: Settings, sources: Sequence[tuple[Settings, Settings]]) -> Settings:
    """Return a group's settings: as built where the config changed them, else as stored."""
    found = {}
    for key in dict.fromkeys((*built, *(key for _, held in sources for key in held))):
        changed = not sources or any(not same(was.get(key, _ABSENT), built.get(key, _ABSENT)) for was, _ in sources)
        value = built.get(key, _ABSENT) if changed else _agreed(key, [held.get(key, _ABSENT) for _, held in sources])
        if value is not _ABSENT and key not in _APART:
            found[key] = value
    return found


def _rates(built: Settings, sources: Sequence[tuple[Settings, Settings]], *, anew: bool) -> Settings:
    """Return a group's rate and its base, which the schedule multiplies; a changed rate becomes the base."""
    changed = not sources or any(not same(base_of(was), base_of(built)) for was, _ in sources)
    base = base_of(built) if changed else _agreed("lr", [base_of(held) for _, held in sources])
    rate = base if changed or anew else _agreed("lr", [held.get("lr") for _, held in sources])
    scheduled = "initial_lr" in built or any("initial_lr" in held for _, held in sources)
    return {"lr": rate} | ({"initial_lr": base} if scheduled else {})


def base_of(group: Settings) -> Any:
    """Return the base rate of a group, which its schedule multiplies."""
    return group.get("initial_lr", group.get("lr"))


def _agreed(key: str, values: Sequence[Any]) -> Any:
    if not all(same(value, values[0]) for value in values):
        raise ConfigError(
            f"these settings join parameters whose {key} differs by now in one group; "
            "leave the groups as they are, or start a new run with warm_start.path"
        )
    return values[0]


def carry_scheduler(
    scheduler: Any, stored: Mapping[str, Any], was: Setup, now: Setup, groups: Sequence[Settings]
) -> Any:
    """Return the scheduler's stored state with the config's changes, for the carried `groups`.

    Raises:
        ConfigError: the scheduler stores values per group, and the groups have changed.
    """
    state = dict(stored)
    if was.names != now.names:
        if not isinstance(scheduler, LambdaLR):
            raise ConfigError(
                f"these settings change the optimizer's groups, and {type(scheduler).__name__} only continues with "
                "those of the run; leave the groups as they are, or choose another scheduler, such as "
                "scheduler=cosine"
            )
        rates = {"base_lrs": [base_of(group) for group in groups], "_last_lr": [group["lr"] for group in groups]}
        state |= rates | {"lr_lambdas": [None] * len(groups)}
    elif "base_lrs" in state:
        rebased = [
            not same(base_of(built), base_of(former)) for built, former in zip(now.groups, was.groups, strict=True)
        ]
        bases = zip(rebased, groups, state["base_lrs"], strict=True)
        state["base_lrs"] = [base_of(group) if changed else base for changed, group, base in bases]
    for key, value in now.scheduler.items():
        if key in state and key not in _OF_ITS_COURSE and not isinstance(scheduler, LambdaLR):
            state[key] = state[key] if same(was.scheduler.get(key, _ABSENT), value) else value
    return state


def same(one: Any, other: Any) -> bool:
    """Return whether two settings are equal; tensors element by element."""
    if isinstance(one, torch.Tensor) or isinstance(other, torch.Tensor):
        return isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)
