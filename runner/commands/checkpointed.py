"""A checkpoint opened for a task that trains nothing: its config as today's words change it, its models, its data."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import open_dict

from runner.blame import raised
from runner.checkpoint.listing import checkpoint_in
from runner.checkpoint.reader.header import verified_header
from runner.checkpoint.reader.schema import version_of
from runner.errors import CheckpointMismatch, ConfigError, RunnerError
from runner.places import local_path
from runner.text import printable
from runner.wiring.config.compose import resolved
from runner.wiring.config.folder import typed_targets
from runner.wiring.overrides.arguments import parse, value_of
from runner.wiring.overrides.program import project_folder
from runner.wiring.resume.rules import Use
from runner.wiring.resume.stored_config import effective_config


@dataclass(frozen=True)
class Asked:
    """What the words ask for, all of it checked, before torch is imported."""

    path: Path
    config: dict[str, Any]
    typed_targets: frozenset[str]


@dataclass(frozen=True)
class Subject:
    """Models, the checkpoint that has their weights, and the data to run them on."""

    path: Path
    models: Mapping[str, Any]
    learner: Any
    dataset: Any
    config: Mapping[str, Any]
    strategy: Any
    trust: Any
    """Whose classes were built for it."""
    identity: Mapping[str, Any] | None = None
    """What the data know of themselves; None for those that the file was just written on."""


def ask(task: str, words: Sequence[str], searchpath: Sequence[str]) -> Asked:
    """Return what `task=<task> checkpoint_path=...` is about; shipped data are augmented only if typed.

    Raises:
        ConfigError, CheckpointError: no file named, a damaged one, or a config that cannot be.
    """
    named = value_of(words, "checkpoint_path")
    if named is None:
        raise ConfigError(f"task={task} needs a file; add checkpoint_path=outputs/x/best.tar")
    if any(o.key_or_group.split(".")[0] == "debug" for o in parse(words)):
        raise ConfigError(f"task={task} takes the whole split, so debug can do nothing for it; leave it out")
    path = checkpoint_in(local_path(named, "checkpoint_path"))
    header = verified_header(path)
    version_of(path, header)
    config, changes = effective_config(header, words, searchpath=searchpath, checkpoint=path, use=Use.evaluation)
    typed = {override.key_or_group for override in parse(words)}
    with open_dict(config):
        config.name = None
        shipped = str(config.data._target_).startswith("runner.data.")  # what it means to others is theirs to say
        if shipped and "augment" in config.data and "data.augment" not in typed:
            config.data.augment = "none"
        if "device.compile" not in typed:  # which builds code, and writes it outside of the run
            config.device.compile = False
    plain = resolved(config)
    for change in changes:
        print(printable(f"{change.key}: {change.run} in the file, {change.now} now"), file=sys.stderr)
    return Asked(path, plain, typed_targets(words, searchpath))


def open_checkpoint(asked: Asked) -> tuple[Subject, str]:
    """Build the models and the data, and return them with the split's name: by default test, where there is one.

    Raises:
        ConfigError: the data has no such split.
    """
    import torch

    from runner.randomness import set_deterministic
    from runner.wiring.build import objects as build
    from runner.wiring.build.identity import identity_of

    config = asked.config
    set_deterministic(config["deterministic"])
    strategy, _ = build.choose_strategy(config, {})
    folder = project_folder()
    trust = build.trust_of(asked.typed_targets, config["trust"], folder=folder, source=asked.path)
    problem = build.build_problem(config, trust)
    split = config["data"].get("split") or ("test" if getattr(problem.data, "test", None) is not None else "val")
    dataset = getattr(problem.data, split, None)
    if dataset is None:
        raise ConfigError(f"data.split={split}: {type(problem.data).__name__} has no such split; try data.split=val")
    models = {name: model.to(strategy.device) for name, model in problem.models.items()}
    if isinstance(problem.learner, torch.nn.Module):
        problem.learner.to(strategy.device)
    identity = identity_of(problem.data)
    return Subject(asked.path, models, problem.learner, dataset, config, strategy, trust, identity), split


@contextmanager
def running(subject: Subject) -> Iterator[tuple[dict[str, Any], Any]]:
    """Lend the models, with the file's weights and number format, and a loader of the data in its own order.

    Random numbers that are drawn meanwhile come from (seed, step) of the file and leave no trace.

    Raises:
        CheckpointMismatch: the file is of another model.
        ConfigError: the models or the learner raised something on the data.
    """
    from runner.checkpoint.format import read_entries
    from runner.data.loaders.loading import EvaluationLoader
    from runner.randomness import isolated
    from runner.strategy.precision import Precision
    from runner.wiring.build import objects as build
    from runner.wiring.trust.forwards import bounded

    config, strategy = subject.config, subject.strategy
    entries = read_entries(subject.path)
    _restore(subject, entries)
    processes = build.worker_options(config["data"])
    loader = EvaluationLoader(subject.dataset, batch_size=config["batch_size"], **processes)
    precision = Precision(config["device"]["precision"], strategy.device)
    with isolated(config["seed"], entries["global_step"]), precision.autocast():
        try:
            with bounded(subject.models.values(), config["model"], subject.trust):
                yield {name: strategy.wrap(model) for name, model in subject.models.items()}, loader
        except (RunnerError, OSError):
            raise
        except Exception as error:
            raise ConfigError(f"{subject.path} does not run on these data: {raised(error)}") from error


def _restore(subject: Subject, entries: Mapping[str, Any]) -> None:
    from torch.nn import Module

    from runner.checkpoint.format import SUFFIX, restore_part
    from runner.loop.state import inference_part
    from runner.optim.buffers import take_buffers
    from runner.stateful import Stateful
    from runner.wiring.build.identity import IDENTITY, compare_identities

    if subject.identity is not None:
        allowed = subject.config["resume_allow"]
        for line in compare_identities(entries.get(IDENTITY), subject.identity, subject.path, allowed=allowed):
            print(line, file=sys.stderr)
    parts = {key.removesuffix(SUFFIX) for key in entries if key.endswith(SUFFIX)}
    for name, model in subject.models.items():
        if name not in parts:
            raise CheckpointMismatch(f"{subject.path} has no model called {name}; it is of another learner")
        part = inference_part(name, parts)
        take_buffers(model, entries[f"{part}{SUFFIX}"])
        restore_part(part, model, entries[f"{part}{SUFFIX}"], subject.path)
    if isinstance(subject.learner, Stateful):
        if "learner" in parts:
            if isinstance(subject.learner, Module):
                take_buffers(subject.learner, entries[f"learner{SUFFIX}"])
            restore_part("learner", subject.learner, entries[f"learner{SUFFIX}"], subject.path)
        else:
            print(f"{subject.path} has no state of the learner, which is as it was built", file=sys.stderr)
