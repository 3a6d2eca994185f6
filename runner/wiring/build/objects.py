"""From a checked config to the objects of a run; mistakes are found here, before the first step."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from runner.checkpoint.format import read_plain
from runner.checkpoint.sharded.manifest import bytes_of
from runner.data.sources import Source
from runner.errors import ConfigError
from runner.learners import frozen_of
from runner.loop.evaluate import modules_within
from runner.loop.state import TrainState
from runner.optim.averaging import Average
from runner.optim.schedules import Horizon
from runner.progress import Progress
from runner.randomness import Randomness, seed_everything
from runner.stateful import Stateful
from runner.strategy.choosing import resolve_strategy
from runner.strategy.devices import Devices, choose_devices
from runner.strategy.distributed.exchange import Exchange
from runner.strategy.layout import to_channels_last
from runner.strategy.precision import Precision
from runner.strategy.processes import Processes
from runner.strategy.recomputing import recompute
from runner.strategy.strategies import Compiled, Strategy
from runner.wiring.build.checks import (
    check_data,
    check_every,
    check_latent,
    check_learner,
    check_model,
    check_optimizer,
    check_trains,
)
from runner.wiring.build.identity import facts_of
from runner.wiring.build.updating import build_updating, check_groups, check_model_names, config_place, trained
from runner.wiring.config.compose import CONF
from runner.wiring.config.folder import targets_in_folder
from runner.wiring.overrides.program import project_folder
from runner.wiring.schema import Config
from runner.wiring.schema.rules import StrategyKind
from runner.wiring.schema.running import Device
from runner.wiring.trust.budget import Budget
from runner.wiring.trust.built_in import ROOTS
from runner.wiring.trust.instantiate import build
from runner.wiring.trust.targets import Trust, places_of_targets, resolves, trust_entry

_OF_ONE_PROCESS = ("single", "data_parallel")
_LOADING = ("workers", "timeout", "split", "drop_last")


@dataclass(frozen=True)
class Problem:
    """The data, the learner and its models."""

    data: Any
    learner: Any
    models: dict[str, nn.Module]
    trust: Trust
    """The classes that it may build."""


def trust_of(typed: Iterable[str], listed: Sequence[str], *, folder: Path | None, source: Path | None = None) -> Trust:
    """Return which classes a config may build: those named in conf/, typed, listed, or in the project's `folder`.

    `source` is the file that the config comes from, None for a typed config.
    """
    typed = frozenset(typed)
    named = {*typed, *targets_in_folder(CONF)}
    environment = filter(None, re.split(r"[,:\s]+", os.environ.get("RUNNER_TRUST", "")))
    extra = {*listed, *environment}
    packages = {entry for name in named if (entry := trust_entry(name)) != name} | extra
    budget = None if source is None else Budget(bytes_of(source), typed=typed, listed=frozenset(extra))
    return Trust(frozenset(packages - set(ROOTS)), frozenset(named | extra), folder, budget)


def trust_overrides(config: Mapping[str, Any]) -> list[str]:
    """Return the `trust` override that a resume needs, if any, since it finds these names in a file only."""
    folder = project_folder()
    alone = trust_of((), (), folder=folder)
    missing = set()
    for place, name in places_of_targets(config):
        if not resolves(name, alone, place):
            package = trust_of((), (trust_entry(name),), folder=folder)
            missing.add(trust_entry(name) if resolves(name, package, place) else name)
    return [f"trust=[{','.join(sorted(missing))}]"] if missing else []


def build_problem(config: Config, trust: Trust, known: Mapping[str, Any] | None = None) -> Problem:
    """Seed everything, then build data, learner and models; models receive the data's facts.

    `known` are the facts of a checkpoint's training data, where nothing is trained: data may then be without `train`.
    """
    seed_everything(config.seed)
    data = build_data(config.data, trust)
    if known is None:
        check_trains(data)
    return problem_of(config, data, trust, known)


def problem_of(config: Config, data: Any, trust: Trust, known: Mapping[str, Any] | None = None) -> Problem:
    """Build the learner and the models for data that are there; `known` is as in `build_problem`."""
    learner = build(config.learner, object, place="learner", trust=trust, reserved=("every",))
    check_learner(learner)
    check_every(config.learner.get("every"), learner)
    seed_everything(config.seed)
    models = build_models(config.model, data, learner, trust, known)
    check_latent(learner, models)
    if config.device.channels_last:
        for module in [*models.values(), *modules_within(learner)]:
            to_channels_last(module)
    return Problem(data, learner, models, trust)


def build_data(node: Mapping[str, Any], trust: Trust) -> Any:
    """Return the data, with at least one split."""
    data = build_for_new(node, trust)
    check_data(data)
    return data


def build_for_new(node: Mapping[str, Any], trust: Trust) -> Any:
    """Return the data, possibly without any split, for their `transform` of new files."""
    return build(node, object, place="data", trust=trust, reserved=_LOADING, given={"read_tensors": read_plain})


def build_models(
    node: Mapping[str, Any], data: Any, learner: Any, trust: Trust, known: Mapping[str, Any] | None = None
) -> dict[str, nn.Module]:
    """Return the models by name: one called "model", or several under their names in the config."""
    facts = facts_of(data, known)
    if not isinstance(node, Mapping):
        raise ConfigError(f"model is {str(node)[:100]!r}; give it keys, and _target_ with the name of a class")
    nodes = {"model": node} if "_target_" in node else dict(node)
    wanted = tuple(getattr(learner, "models", ("model",)))
    if set(nodes) != set(wanted):
        raise ConfigError(
            f"learner {type(learner).__name__} trains {', '.join(wanted)}, but the config's model has "
            f"{', '.join(nodes) or 'none'}; choose a model that fits the learner"
        )
    return {
        name: build(nodes[name], nn.Module, place=config_place("model", name), trust=trust, given=facts, facts=facts)
        for name in wanted
    }


def choose_strategy(config: Config, pinned: Mapping[str, Any], processes: Processes) -> tuple[Strategy, Devices]:
    """Return the strategy on its devices; on a resume, `auto` keeps its former meaning.

    Raises:
        DeviceMissing: this machine lacks the device.
        ConfigError: the run used another number of GPUs.
    """
    if config.micro_batch_size is not None and processes.size > 1:
        raise ConfigError(
            "micro_batch_size=auto is for one process, which others would wait for; set accumulate=2 or more"
        )
    kind, index, name = config.device.kind.value, config.device.index, config.strategy.kind.value
    if kind == "auto" and pinned.get("device_kind"):
        kind = str(pinned["device_kind"])
    same_kind = kind == pinned.get("device_kind")
    if name == "auto" and same_kind and processes.size == 1 and pinned.get("strategy") in _OF_ONE_PROCESS:
        name = str(pinned["strategy"])
    options = config.strategy
    exchange = Exchange(
        options.timeout, options.find_unused, options.units, options.cpu_offload, options.sync_batchnorm
    )
    placed, devices = resolve_strategy(name, choose_devices(kind, index), index, processes, exchange)
    count = max(1, len(devices.indices))
    alone = processes.size == 1 == pinned.get("processes", 1)  # else the number of processes is told
    is_free = index is None and config.strategy.kind is StrategyKind.auto and alone
    if is_free and same_kind and count != pinned.get("devices", count):
        raise ConfigError(
            f"the run used {pinned['devices']} {kind} devices and this machine has {count}; "
            "choose them with device=cuda device.index=[...]"
        )
    return (_compiled(placed, config.device) if config.device.compile else placed), devices


def _compiled(placed: Strategy, options: Device) -> Strategy:
    return Compiled(placed, mode=options.compile_mode.name, dynamic=options.compile_dynamic)


def build_state(
    config: Config, problem: Problem, *, strategy: Strategy, devices: Devices, train: Source, horizon: Horizon
) -> TrainState:
    """Return the state of a run before its first step, on its device."""
    learner = problem.learner
    recompute(problem.models.values(), config.device.checkpoint_activations)
    decay, frozen = config.ema.decay, frozen_of(learner)
    averages = {
        name: _placed(Average(model, decay=decay), strategy)
        for name, model in problem.models.items()
        if decay and name not in frozen
    }
    models = {name: strategy.place(model) for name, model in problem.models.items()}
    for module in modules_within(learner):
        module.to(strategy.device)
    for name in frozen:
        models[name].eval().requires_grad_(False)
    updated = {name: model for name, model in models.items() if name not in frozen}
    check_model_names({"optimizer": config.optimizer, "scheduler": config.scheduler}, updated)
    for name, model in models.items():
        check_model(model, name)
    updating = {
        name: build_updating(config, name, model, trained(name, model, learner), horizon=horizon, trust=problem.trust)
        for name, model in updated.items()
    }
    check_groups(config, updated, learner)
    for name, (optimizer, _) in updating.items():
        check_optimizer(optimizer, models[name], config_place("optimizer", name))
    return TrainState(
        models=models,
        optimizers={name: optimizer for name, (optimizer, _) in updating.items()},
        schedulers={name: scheduler for name, (_, scheduler) in updating.items() if scheduler is not None},
        scaler=Precision(config.device.precision.value, strategy.device),
        data=train.position(),
        averages=averages,
        rng=Randomness(devices.indices),
        progress=Progress(counts={"samples": 0} | ({} if config.max_tokens is None else {"tokens": 0})),
        learner=learner if isinstance(learner, Stateful) else None,
    )


def _placed(average: Average, strategy: Strategy) -> Average:
    """Return an average whose model, a copy, is placed like the model itself."""
    strategy.place(average.model)
    return average
