"""From a start to a prepared run: everything built and restored, nothing written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

from runner.checkpoint.weights.match import Report
from runner.data.sources import Evaluated, Source
from runner.data.splits import sets_of
from runner.errors import ConfigError
from runner.loop.state import TrainState
from runner.optim.freezing import Freezing
from runner.optim.schedules import Horizon
from runner.randomness import seed_apart, set_deterministic
from runner.strategy.devices import Devices
from runner.strategy.precision import set_matmuls
from runner.strategy.processes import Processes
from runner.strategy.strategies import Strategy
from runner.wiring.build import objects as build
from runner.wiring.build.debug import limited
from runner.wiring.build.dry_run import Trial
from runner.wiring.build.identity import facts_of, identity_of
from runner.wiring.build.loaders import check_counts, check_same_order, counted_limits, horizon_of, loaders
from runner.wiring.build.trackers import build_trackers, tracker_overrides
from runner.wiring.build.updating import build_freezing
from runner.wiring.config.compose import checked, plain, without_hydra
from runner.wiring.config.settled import needed_again, settled, text_of
from runner.wiring.overrides.program import project_folder
from runner.wiring.resume.effects import Today
from runner.wiring.schema import Config
from runner.wiring.schema.rules import Form
from runner.wiring.schema.running import Checkpoint
from runner.wiring.starts import restore as restoring
from runner.wiring.starts.rhythm import Rhythm, rhythm_of
from runner.wiring.starts.start import Origin, Start
from runner.wiring.trust.forwards import bounded

_OF_VAL, _OF_TRAINING = "val/loss", "train/loss"


@dataclass(frozen=True)
class Prepared:
    """A run with everything built and, on a resume, restored."""

    start: Start
    config: Config
    config_text: str
    """The config as a checkpoint holds it."""
    problem: build.Problem
    state: TrainState
    strategy: Strategy
    devices: Devices
    train_loader: Source
    val_loaders: Mapping[str, Evaluated]
    horizon: Horizon
    limits: Mapping[str, int]
    """The lengths that only counting tells."""
    rhythm: Rhythm
    freezing: Mapping[str, Freezing]
    """The frozen part of each model that has one."""
    reports: Mapping[str, Report]
    """The warm start's report of each model."""
    identity: Mapping[str, Any]
    """The identity of the data."""
    facts: Mapping[str, Any]
    """The facts of the data that models are built with."""
    again: Sequence[str]
    """The overrides that a later attempt must repeat."""


def prepare(start: Start, processes: Processes) -> Prepared:
    """Build the objects of a run and restore them, writing nothing; only the main process reads checkpoints.

    Raises:
        RunnerError: the config, the data, the device or the checkpoint is wrong.
    """
    config = checked(start.config)
    set_deterministic(config.deterministic)
    set_matmuls(config.device.precision.value)
    strategy, devices = build.choose_strategy(config, start.pinned or {}, processes)
    processes = strategy.processes
    problem, identity, facts = _problem(config, start)
    start = replace(start, notices=[*start.notices, *_check_form(config, strategy)])
    _monitor_training(config, start, problem)
    train_loader, val_loaders = loaders(config, problem.data, devices.kind, processes)
    check_same_order(train_loader, processes)
    restoring.check_monitor(config.checkpoint, problem)
    loaded = restoring.prepare_models(problem, start, config.warm_start, strategy)
    reports, entries = loaded.reports, loaded.entries
    start = replace(start, notices=[*start.notices, *loaded.notices])
    start = restoring.check_data(start, entries, identity, config, train_loader.size, processes)
    horizon = horizon_of(config, train_loader, restoring.position(start, entries))
    twins = {name: strategy.twin(model) for name, model in problem.models.items()}
    state = build.build_state(config, problem, strategy=strategy, devices=devices, train=train_loader, horizon=horizon)
    trained = {name: state.models[name] for name in state.optimizers}
    freezing = build_freezing(config, trained, problem.learner, horizon)
    today = Today(config, horizon, problem.trust, problem.learner)
    start = restoring.restore_state(state, entries, start=start, today=today, strategy=strategy)
    if processes.rank and not loaded.of_this_rank:
        seed_apart(config.seed, processes.rank, state.progress.global_step)
    limits = counted_limits(config, train_loader)
    check_counts(limits, problem.learner, state.progress.counts)
    text = text_of(start.config)  # with the settings of an adopted optimizer
    build_trackers(start.config, problem, start.directory, state.progress)  # a trial; the plan builds them again
    with (
        bounded(state.models, config.model, problem.trust, twins),
        bounded(state.averaged(), config.model, problem.trust, twins),
    ):
        said = Trial(config, state, problem.learner, strategy, freezing.values()).run(
            train_loader, val_loaders, horizon
        )
    start = replace(start, notices=[*start.notices, *said])
    return Prepared(
        start=start,
        config=config,
        config_text=text,
        problem=problem,
        state=state,
        strategy=strategy,
        devices=devices,
        train_loader=train_loader,
        val_loaders=val_loaders,
        horizon=horizon,
        limits=limits,
        rhythm=rhythm_of(config, horizon),
        freezing=freezing,
        reports=reports,
        again=_again(start),
        identity=identity,
        facts=facts,
    )


def _problem(config: Config, start: Start) -> tuple[build.Problem, dict[str, Any], dict[str, Any]]:
    """Return the problem on the limited data, and the identity and the facts of the whole data."""
    source = None if start.origin is Origin.adopted else start.checkpoint
    trust = build.trust_of(start.typed_targets, config.trust, folder=project_folder(), source=source)
    problem = build.build_problem(config, trust)
    whole = problem.data
    limited_problem = replace(problem, data=limited(whole, config.debug, config.batch_size))
    return limited_problem, identity_of(whole), facts_of(whole)


def _check_form(config: Config, strategy: Strategy) -> list[str]:
    """Return a notice if `checkpoint.form=sharded` has no effect; raise ConfigError if its package is missing."""
    options = config.checkpoint
    if not isinstance(options, Checkpoint) or options.form is Form.file:
        return []
    if not strategy.runs_together:
        return [f"checkpoint.form=sharded: strategy={strategy.name} divides nothing, so each checkpoint is one file"]
    if find_spec("safetensors") is None:
        raise ConfigError(
            "checkpoint.form=sharded needs the package safetensors; install it with python -m pip install safetensors"
        )
    return []


def _monitor_training(config: Config, start: Start, problem: build.Problem) -> None:
    """Monitor the training loss if the data have no `val` and the user chose no other metric."""
    if config.checkpoint.monitor == _OF_VAL and not sets_of(getattr(problem.data, "val", None)):
        start.config.checkpoint.monitor = config.checkpoint.monitor = _OF_TRAINING


def _again(start: Start) -> list[str]:
    """Return the overrides that a later attempt must repeat, since a file may not set them or is not trusted."""
    config = settled(plain(without_hydra(start.config)))
    trackers = tracker_overrides(config.pop("tracker"))
    return [*needed_again(config), *trackers, *build.trust_overrides(config)]
