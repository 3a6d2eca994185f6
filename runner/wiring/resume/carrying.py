"""A stored optimizer under a changed config: a setting is the new one where the config has changed it, else the run's.

What a config changes is told by what it builds: the groups and the scheduler of the run's own config are held against
those of the new one. So an optimizer of the user's own, whose constructor makes groups as it likes, changes as it would
in a new run, and its moments follow their parameters by name.
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
    """An optimizer's groups and its scheduler as a config builds them, before anything is restored."""

    names: list[list[str]]
    """The parameters of each group."""
    groups: list[Settings]
    scheduler: Settings
    """Its attributes; none without one."""


def setup_of(optimizer: Optimizer, scheduler: Any, parameters: Iterable[tuple[str, nn.Parameter]]) -> Setup:
    """Return what was built, by the names of the parameters that it was built with."""
    name_of = {parameter: name for name, parameter in parameters}
    names = [[name_of.get(parameter, "?") for parameter in group["params"]] for group in optimizer.param_groups]
    return Setup(names, [dict(group) for group in optimizer.param_groups], dict(vars(scheduler)) if scheduler else {})


def carry_optimizer(stored: Mapping[str, Any], was: Setup, now: Setup, *, anew: bool) -> dict[str, Any]:
    """Return the stored state in the groups of `now`, where `was` is what the run's own config builds.

    With a scheduler that was chosen `anew`, the rates are the bases that the former one had begun with.

    Raises:
        ConfigError: other parameters are trained, or parameters with different settings come into one group.
        ValueError: the stored groups are none that the run's own config makes.
    """
    held = stored["param_groups"]
    if [len(group["params"]) for group in held] != [len(names) for names in was.names]:
        raise ValueError("its groups of parameters are others than those that its config makes")
    home: dict[str, tuple[int, Any]] = {}
    for index, (group, names) in enumerate(zip(held, was.names, strict=True)):
        numbers = zip(group.get("param_names") or names, group["params"], strict=True)
        home |= {name: (index, number) for name, number in numbers}
    if other := sorted(home.keys() ^ {name for names in now.names for name in names}):
        raise ConfigError(
            f"with these settings the optimizer trains other parameters than the run does, {other[0]} for one; "
            "leave them as they are, or begin a new run with warm_start.path"
        )
    groups = []
    for names, built in zip(now.names, now.groups, strict=True):
        sources = [(was.groups[index], held[index]) for index in sorted({home[name][0] for name in names})]
        group = {"params": [home[name][1] for name in names]}
        group |= {"param_names": list(names)} if "param_names" in built else {}
        groups.append({**group, **_rates(built, sources, anew=anew), **_settings(built, sources)})
    return {**stored, "param_groups": groups}


def _settings(built: Settings, sources: Sequence[tuple[Settings, Settings]]) -> Settings:
    """Return a group's settings: as built where the config has changed them, else as they were stored."""
    found = {}
    for key in dict.fromkeys((*built, *(key for _, held in sources for key in held))):
        changed = not sources or any(not same(was.get(key, _ABSENT), built.get(key, _ABSENT)) for was, _ in sources)
        value = built.get(key, _ABSENT) if changed else _agreed(key, [held.get(key, _ABSENT) for _, held in sources])
        if value is not _ABSENT and key not in _APART:
            found[key] = value
    return found


def _rates(built: Settings, sources: Sequence[tuple[Settings, Settings]], *, anew: bool) -> Settings:
    """Return a group's rate, and the base that the schedule multiplies, which a changed rate becomes."""
    changed = not sources or any(not same(base_of(was), base_of(built)) for was, _ in sources)
    base = base_of(built) if changed else _agreed("lr", [base_of(held) for _, held in sources])
    rate = base if changed or anew else _agreed("lr", [held.get("lr") for _, held in sources])
    scheduled = "initial_lr" in built or any("initial_lr" in held for _, held in sources)
    return {"lr": rate} | ({"initial_lr": base} if scheduled else {})


def base_of(group: Settings) -> Any:
    """Return the rate of a group that its schedule multiplies."""
    return group.get("initial_lr", group.get("lr"))


def _agreed(key: str, values: Sequence[Any]) -> Any:
    if not all(same(value, values[0]) for value in values):
        raise ConfigError(
            f"with these settings the optimizer puts parameters whose {key} differs by now into one group, for which "
            "there is no rule; leave the groups as they are, or begin a new run with warm_start.path"
        )
    return values[0]


def carry_scheduler(
    scheduler: Any, stored: Mapping[str, Any], was: Setup, now: Setup, groups: Sequence[Settings]
) -> Any:
    """Return the scheduler's stored state with what the config has changed, above the carried `groups`.

    Raises:
        ConfigError: it keeps something of each group, and the groups are others now.
    """
    state = dict(stored)
    if was.names != now.names:
        if not isinstance(scheduler, LambdaLR):
            raise ConfigError(
                f"with these settings the optimizer has other groups, and {type(scheduler).__name__} goes on with "
                "those of the run only; leave the groups as they are, or choose another scheduler with it, such as "
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
    """Return whether two settings are equal; of tensors every number."""
    if isinstance(one, torch.Tensor) or isinstance(other, torch.Tensor):
        return isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)
