"""A checkpoint opened for evaluation or prediction: its config with today's overrides, its models and its data."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import open_dict

from runner.checkpoint.listing import checkpoint_in
from runner.checkpoint.reader.entries import version_of
from runner.checkpoint.reader.header import verified_header
from runner.errors import ConfigError
from runner.places import local_path
from runner.strategy.processes import Alone
from runner.text import printable
from runner.wiring.config.compose import checked
from runner.wiring.config.folder import typed_targets
from runner.wiring.overrides.arguments import parse, value_of
from runner.wiring.overrides.program import project_folder
from runner.wiring.resume.rules import Use
from runner.wiring.resume.stored_config import effective_config
from runner.wiring.schema import Config
from runner.wiring.schema.rules import StrategyKind

if TYPE_CHECKING:  # it imports torch
    from runner.run.measuring import Subject
    from runner.wiring.new_data import NewData

_UNCOMPILED = {"compile": False, "compile_mode": "default", "compile_dynamic": None}


@dataclass(frozen=True)
class Asked:
    """The checkpoint and config that the overrides ask for, checked before torch is imported."""

    path: Path
    config: Config
    typed_targets: frozenset[str]
    facts: Mapping[str, Any]
    """The facts of the data that the models were trained on."""
    identity: Any = None
    """The identity of these data, as the file has it."""


def ask(task: str, overrides: Sequence[str], searchpath: Sequence[str]) -> Asked:
    """Return what `task=<task> checkpoint_path=...` asks for; shipped data are augmented only if typed.

    Raises:
        ConfigError, CheckpointError: no file named, a damaged one, or an invalid config.
    """
    named = value_of(overrides, "checkpoint_path")
    if named is None:
        raise ConfigError(f"task={task} needs a file; add checkpoint_path=outputs/x/best.tar")
    if any(o.key_or_group.split(".")[0] == "debug" for o in parse(overrides)):
        raise ConfigError(f"task={task} uses the whole split, so debug has no effect; leave it out")
    path = checkpoint_in(local_path(named, "checkpoint_path"))
    header = verified_header(path)
    version_of(path, header)
    config, changes = effective_config(header, overrides, searchpath=searchpath, checkpoint=path, use=Use.evaluation)
    typed = {override.key_or_group for override in parse(overrides)}
    with open_dict(config):
        config.name = None
        shipped = str(config.data._target_).startswith("runner.data.")  # elsewhere it may mean anything
        if shipped and "augment" in config.data and "data.augment" not in typed:
            config.data.augment = "none"
        if "device.compile" not in typed:  # it writes code outside of the run
            config.device.update({key: off for key, off in _UNCOMPILED.items() if f"device.{key}" not in typed})
        if config.strategy.kind in (StrategyKind.ddp, StrategyKind.fsdp) and not typed & {"strategy", "strategy.kind"}:
            config.strategy.kind = StrategyKind.auto  # one process evaluates what several have trained
    environment = header.get("environment")
    facts = environment.get("facts") if isinstance(environment, Mapping) else None
    known = facts if isinstance(facts, Mapping) else {}
    targets = typed_targets(overrides, searchpath)
    asked = Asked(path, checked(config), targets, known, header.get("data_identity"))
    for change in changes:
        print(printable(f"{change.key}: {change.run} in the file, {change.now} now"), file=sys.stderr)
    return asked


def open_checkpoint(asked: Asked) -> tuple["Subject", str]:
    """Build the models and the data, and return them with the split's name; default: test if there is one, else val.

    Raises:
        ConfigError: the data have no such split.
    """
    from runner.wiring.build import objects as build
    from runner.wiring.build.identity import identity_of

    config, trust = asked.config, _trust(asked)
    strategy, devices = _placed(config)
    problem = build.build_problem(config, trust, asked.facts)
    there = [split for split in ("test", "val", "train") if getattr(problem.data, split, None) is not None]
    split = config.data.get("split") or ("test" if "test" in there else "val")
    if split not in there:
        name = type(problem.data).__name__
        raise ConfigError(f"data.split={split}: {name} has no such split; try data.split={there[0]}")
    identity = identity_of(problem.data, asked.facts)
    return _subject(asked, problem, getattr(problem.data, split), strategy, devices, identity), split


def open_new(asked: Asked, source: Sequence[Path]) -> tuple["Subject", "NewData"]:
    """Build the models and read the new files as those of the training; shipped training data need not be here.

    Raises:
        ConfigError, DataMissing: the files do not fit the checkpoint's data.
    """
    from runner.wiring.build import objects as build
    from runner.wiring.new_data import Origin, new_data

    config, trust = asked.config, _trust(asked)
    strategy, devices = _placed(config)
    new = new_data(source, Origin(config.data, asked.identity, asked.path, asked.facts), trust)
    if notice := new.notice:
        print(printable(notice), file=sys.stderr)
    problem = build.problem_of(config, new.data, trust, asked.facts)
    return _subject(asked, problem, new.dataset, strategy, devices, new.identity), new


def _trust(asked: Asked) -> Any:
    from runner.wiring.build.objects import trust_of

    return trust_of(asked.typed_targets, asked.config.trust, folder=project_folder(), source=asked.path)


def _placed(config: Config) -> Any:
    """Return the strategy and its devices, and seed everything."""
    from runner.randomness import seed_everything, set_deterministic
    from runner.strategy.precision import set_matmuls
    from runner.wiring.build.objects import choose_strategy

    set_deterministic(config.deterministic)
    set_matmuls(config.device.precision.value)
    seed_everything(config.seed)
    return choose_strategy(config, {}, Alone())


def _subject(asked: Asked, problem: Any, dataset: Any, strategy: Any, devices: Any, identity: Any) -> "Subject":
    """Return the models on their device, and the data set to run them on."""
    from runner.loop.evaluate import modules_within
    from runner.run.measuring import Subject
    from runner.wiring.build.loaders import loading_of

    models = {name: model.to(strategy.device) for name, model in problem.models.items()}
    for module in modules_within(problem.learner):
        module.to(strategy.device)
    made = models, problem.learner, dataset, loading_of(asked.config, problem.data, devices.kind)
    return Subject(asked.path, *made, asked.config, strategy, problem.trust, identity)
