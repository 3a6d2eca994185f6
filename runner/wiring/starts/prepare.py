"""From a start to a run that is ready: everything built, everything restored, nothing written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from runner.checkpoint.weights.match import Report
from runner.data.loaders.loading import EvaluationLoader, TrainLoader
from runner.loop.state import TrainState
from runner.optim.schedules import Horizon
from runner.randomness import set_deterministic
from runner.signals import parse_duration
from runner.strategy.devices import Devices
from runner.strategy.strategies import Strategy
from runner.wiring.build import debug as debugging
from runner.wiring.build import objects as build
from runner.wiring.build.dry_run import Trial
from runner.wiring.build.fitting import untrained
from runner.wiring.build.identity import identity_of
from runner.wiring.build.loading import horizon_of, loaders
from runner.wiring.build.trackers import build_trackers, tracker_words
from runner.wiring.config.compose import plain, resolved, without_hydra
from runner.wiring.config.settled import needed_again, settled, text_of
from runner.wiring.overrides.program import project_folder
from runner.wiring.resume.effects import Today
from runner.wiring.starts import restore as restoring
from runner.wiring.starts.start import Origin, Start
from runner.wiring.trust.forwards import bounded


@dataclass(frozen=True)
class Prepared:
    """A run that is ready: everything was built and, on a resume, restored."""

    start: Start
    config: dict[str, Any]
    config_text: str
    """The config as a checkpoint holds it."""
    problem: build.Problem
    state: TrainState
    strategy: Strategy
    devices: Devices
    train_loader: TrainLoader
    val_loader: EvaluationLoader
    horizon: Horizon
    max_seconds: float | None
    reports: Mapping[str, Report]
    """What a warm start loaded, by model."""
    identity: Mapping[str, Any]
    """What the data know of themselves."""
    again: Sequence[str]
    """The words that a later attempt has to repeat."""


def prepare(start: Start) -> Prepared:
    """Build the objects of a run and restore them, writing nothing.

    Raises:
        RunnerError: whatever is wrong with the config, the data, the device or the checkpoint.
    """
    config = resolved(start.config)
    text_of(start.config)  # which may be too long
    set_deterministic(config["deterministic"])
    source = None if start.origin is Origin.adopted else start.checkpoint
    trust = build.trust_of(start.typed_targets, config["trust"], folder=project_folder(), source=source)
    strategy, devices = build.choose_strategy(config, start.pinned or {})
    problem = build.build_problem(config, trust)
    identity = identity_of(problem.data)
    problem = replace(problem, data=debugging.limited(problem.data, config))
    train_loader, val_loader = loaders(config, problem.data, devices.kind)
    restoring.check_monitor(config, problem.learner)
    reports, entries = restoring.prepare_models(problem.models, start, config)
    start = restoring.check_data(start, entries, identity, config, train_loader.size)
    horizon = horizon_of(config, train_loader, restoring.position(start, entries))
    state = build.build_state(config, problem, strategy=strategy, devices=devices, train=train_loader, horizon=horizon)
    start = replace(start, notices=[*start.notices, *untrained(problem.learner)])
    today = Today(config, horizon, problem.trust)
    start = restoring.restore_state(state, entries, start=start, today=today)
    build_trackers(config, problem, start.directory, state.progress)  # which may be wrong; the plan builds them again
    tried = [*state.models.values(), *(average.model for average in state.averages.values())]
    with bounded(tried, config["model"], trust):
        said = Trial(config, state, problem.learner, strategy).run(train_loader, val_loader, horizon)
    start = replace(start, notices=[*start.notices, *said])
    return Prepared(
        start=start,
        config=config,
        config_text=text_of(start.config),
        problem=problem,
        state=state,
        strategy=strategy,
        devices=devices,
        train_loader=train_loader,
        val_loader=val_loader,
        horizon=horizon,
        max_seconds=parse_duration(config["max_time"]),
        reports=reports,
        again=_again(start),
        identity=identity,
    )


def _again(start: Start) -> list[str]:
    """Return the words that a later attempt has to repeat: what a file may not say, or nobody would believe it."""
    config = settled(plain(without_hydra(start.config)))
    trackers = tracker_words(config.pop("tracker"))
    return [*needed_again(config), *trackers, *build.trust_words(config)]
