"""A model's optimizer and scheduler, from its own options or from those that all models share."""

import math
from collections.abc import Collection, Iterable, Mapping
from fractions import Fraction
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from runner.errors import ConfigError
from runner.learners import trained_by
from runner.optim.agreement import Agreement, is_known
from runner.optim.buffers import copied
from runner.optim.freezing import Freezing, check_patterns, frozen_part
from runner.optim.groups import OF_A_RULE, Named, Rules, check_effects, grouped, settings_of
from runner.optim.matching import match_by_name, match_layout
from runner.optim.plateau import Plateau
from runner.optim.schedules import Horizon, Schedule, make_scheduler
from runner.wiring.schema import Config
from runner.wiring.trust.instantiate import build, parameters_of
from runner.wiring.trust.targets import Trust, resolve

_OURS = ("groups", "no_decay", "layer_decay", "freeze", "unfreeze_at")
"""The keys of an optimizer that are not arguments of its class."""


def node_of(node: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the options of one model: its own, under its name, or the shared ones; `unit` may be shared alone."""
    own = node.get(name)
    if not isinstance(own, Mapping):
        return node
    return {"unit": node["unit"], **own} if "unit" in node else own


def counts_epochs(scheduler: Any, node: Mapping[str, Any]) -> bool:
    """Return whether a scheduler with these options moves once per epoch; ours always count steps."""
    return node.get("unit") == "epoch" and not isinstance(scheduler, LambdaLR)


def check_model_names(groups: Mapping[str, Mapping[str, Any]], models: Iterable[str]) -> None:
    """Raise ConfigError for optimizer or scheduler options under a name that is not a model's."""
    names = list(models)
    for group, node in groups.items():
        for key, own in node.items() if "_target_" not in node else ():
            if isinstance(own, Mapping) and key not in names:
                raise ConfigError(f"{group}.{key} is not for a model of this run; its models are {', '.join(names)}")


def trained(name: str, model: nn.Module, learner: Any) -> list[tuple[str, nn.Parameter]]:
    """Return the parameters that a model's optimizer trains: the model's and, for the first model, the learner's."""
    named = list(model.named_parameters())
    if isinstance(learner, nn.Module) and name == trained_by(learner)[0]:
        named += learner.named_parameters(prefix="learner")
    return [(key, parameter) for key, parameter in named if parameter.requires_grad]


def build_updating(
    config: Config, name: str, model: nn.Module, parameters: Named, *, horizon: Horizon, trust: Trust
) -> tuple[Optimizer, Any]:
    """Return a fresh optimizer of a model's parameters and its scheduler, or None.

    Raises:
        ConfigError: there is nothing to train, or options do not fit the class or the model.
    """
    if not parameters:
        raise ConfigError(f"the {name} has no parameter to train; choose another model")
    node, place = node_of(config.optimizer, name), config_place("optimizer", name)
    rules = _rules(node)
    if "model" in parameters_of(node, Optimizer, place=place, trust=trust):
        taken: dict[str, Any] = {"given": {"model": _with(model, parameters, rules, place)}}
    else:
        taken = {"first": (grouped(model, parameters, rules, lr=node.get("lr"), place=place),)}
    optimizer: Optimizer = build(node, Optimizer, place=place, trust=trust, reserved=_OURS, **taken)
    _check_settings(rules, optimizer, place)
    if is_known(optimizer):
        _try_settings(rules, node, place, trust)
    scheduler = _build_scheduler(config, name, optimizer, horizon, trust)
    optimizer.register_load_state_dict_pre_hook(match_by_name)
    if is_known(optimizer):
        optimizer.register_load_state_dict_post_hook(match_layout)
        optimizer.register_load_state_dict_post_hook(Agreement(optimizer, scheduler))
    return optimizer, scheduler


def build_freezing(
    config: Config, models: Mapping[str, nn.Module], learner: Any, horizon: Horizon
) -> dict[str, Freezing]:
    """Return the frozen part of each of these models that has one, by `optimizer.freeze`; nothing is frozen yet.

    Raises:
        ConfigError: a pattern or the time is invalid, or everything would be frozen.
    """
    found: dict[str, Freezing] = {}
    named = {name: trained(name, model, learner) for name, model in models.items()}
    for node, place, names in _sharing(config, models):
        patterns, at = node.get("freeze") or (), node.get("unfreeze_at")
        if isinstance(patterns, str) or (at is not None and not patterns):
            raise ConfigError(
                f"{place}.freeze={patterns or '[]'} is invalid; use a list of patterns, such as ['^stem']"
            )
        check_patterns(patterns, [key for name in names for key, _ in named[name]], place)
        until = None if at is None else _steps_until(at, horizon, f"{place}.unfreeze_at")
        found |= {name: frozen_part(models[name], named[name], patterns, until=until) for name in names}
    if all(len(part.parameters) == len(named[name]) for name, part in found.items()):
        raise ConfigError(f"optimizer.freeze freezes every parameter of the {', '.join(models)}; leave some to train")
    return {name: part for name, part in found.items() if part.parameters}


def check_groups(config: Config, models: Mapping[str, nn.Module], learner: Any) -> None:
    """Raise ConfigError for rules of parameter groups that have no effect in any of the models that share them."""
    for node, place, names in _sharing(config, models):
        check_effects([(models[name], trained(name, models[name], learner)) for name in names], _rules(node), place)


def _sharing(config: Config, models: Iterable[str]) -> Collection[tuple[Mapping[str, Any], str, list[str]]]:
    """Return the options of optimizers with their places and the models that share them."""
    found: dict[str, tuple[Mapping[str, Any], str, list[str]]] = {}
    for name in models:
        node = node_of(config.optimizer, name)
        place = "optimizer" if node is config.optimizer else config_place("optimizer", name)
        found.setdefault(place, (node, place, []))[2].append(name)
    return found.values()


def _rules(node: Mapping[str, Any]) -> Rules:
    return Rules(node.get("groups") or (), node.get("no_decay") is not None, node.get("layer_decay"))


def _steps_until(at: Any, horizon: Horizon, place: str) -> int:
    """Return the first step that reaches a time: a number of epochs, or {step: a number of steps}."""
    count, unit = (at["step"], "step") if isinstance(at, Mapping) and at.keys() == {"step"} else (at, "epoch")
    if type(count) not in ((int,) if unit == "step" else (int, float)) or not 0 < count < math.inf:
        raise ConfigError(
            f"{place}={at} is invalid; use a number of epochs above 0, or a mapping such as {{step: 500}}"
        )
    if (steps := 1 if unit == "step" else horizon.steps_per_epoch) is None:
        raise ConfigError(f"{place}={at} counts epochs, whose steps a stream does not tell; give it as {{step: 500}}")
    return math.ceil(Fraction(str(count)) * steps)


def _with(model: nn.Module, parameters: Named, rules: Rules, place: str) -> nn.Module:
    """Return the model that an optimizer takes whole: this one, or a copy with `parameters` that are not its own.

    Raises:
        ConfigError: its groups are set in the config, or it would not train all parameters.
    """
    if not rules.are_none:
        raise ConfigError(f"{place} takes the model and makes its own groups; leave out groups, no_decay, layer_decay")
    own = dict(model.named_parameters())
    if others := [name for name, _ in parameters if name not in own]:
        raise ConfigError(
            f"{place} takes the model only, and {others[0]} is not in it; take `params` instead of `model`"
        )
    replaced = {id(own[name]): one for name, one in parameters if own[name] is not one}
    return copied(model, replaced) if replaced else model


def _check_settings(rules: Rules, optimizer: Optimizer, place: str) -> None:
    """Raise ConfigError for a setting of a group that the optimizer does not have."""
    name, known = type(optimizer).__name__, optimizer.defaults
    for number, rule in enumerate(rules.groups):
        if unknown := sorted(rule.keys() - known.keys() - set(OF_A_RULE)):
            settings = ", ".join(["lr_scale", *known])
            raise ConfigError(
                f"{place}.groups[{number}].{unknown[0]} is unknown; the settings of {name} are {settings}"
            )
    if rules.no_decay and "weight_decay" not in known:
        raise ConfigError(f"{place}.no_decay is set, but {name} has no weight decay; leave it out")


def _try_settings(rules: Rules, node: Mapping[str, Any], place: str, trust: Trust) -> None:
    """Raise ConfigError for values that the optimizer refuses; by itself torch checks only what all groups share."""
    for number, rule in enumerate(rules.groups):
        alone, parameter = {**node, **settings_of(rule)}, nn.Parameter(torch.zeros(1, 1))
        where = f"{place}.groups[{number}]"
        build(alone, Optimizer, place=where, trust=trust, first=([parameter],), reserved=_OURS)


def _build_scheduler(config: Config, name: str, optimizer: Optimizer, horizon: Horizon, trust: Trust) -> Any:
    node = node_of(config.scheduler, name)
    if "_target_" not in node:
        return None
    place = config_place("scheduler", name)
    cls = resolve(str(node["_target_"]), object, trust, place)
    if not isinstance(cls, type):
        raise ConfigError(f"{place}._target_={node['_target_']} is a function; name a class")
    if issubclass(cls, Schedule):
        return make_scheduler(optimizer, build(node, cls, place=place, trust=trust, first=(horizon,)).factor)
    if not issubclass(cls, LRScheduler):  # ReduceLROnPlateau is one, too
        raise ConfigError(
            f"{place}: {cls.__name__} is not a scheduler; derive it from torch.optim.lr_scheduler.LRScheduler, "
            "whose `get_lr` returns the rate of each group"
        )
    waits = issubclass(cls, ReduceLROnPlateau)  # for the monitored metric to improve
    if not waits and (unit := node.get("unit", "step")) not in ("step", "epoch"):
        raise ConfigError(f"{place}.unit={unit} is invalid; use step or epoch for {cls.__name__}")
    given = {"mode": config.checkpoint.mode.value} if waits else {}
    first = (optimizer, horizon) if issubclass(cls, Plateau) else (optimizer,)
    return build(node, cls, place=place, trust=trust, first=first, given=given, reserved=("unit",))


def config_place(group: str, name: str) -> str:
    """Return the place of a model's options: `optimizer`, or `optimizer.generator` with several models."""
    return group if name == "model" else f"{group}.{name}"
