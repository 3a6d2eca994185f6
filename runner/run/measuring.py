"""Run the models of a checkpoint, with its weights, on data without training."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.nn import Module

from runner.blame import raised
from runner.checkpoint.format import restore_part
from runner.checkpoint.reader.entries import states
from runner.data.loaders.delivery import Loading
from runner.data.sources import evaluated
from runner.data.splits import sets_of
from runner.errors import CheckpointMismatch, ConfigError, RunnerError
from runner.loop.evaluate import evaluate_each
from runner.loop.state import inference_part
from runner.optim.buffers import take_buffers
from runner.randomness import isolated
from runner.stateful import Stateful
from runner.strategy.precision import Precision
from runner.wiring.build.identity import IDENTITY, compare_identities
from runner.wiring.schema import Config
from runner.wiring.starts.restore import read_for
from runner.wiring.trust.forwards import bounded


@dataclass(frozen=True)
class Subject:
    """Models, the checkpoint with their weights, and the data to run them on."""

    path: Path
    models: Mapping[str, Any]
    learner: Any
    dataset: Any
    loading: Loading
    config: Config
    strategy: Any
    trust: Any
    """The trust under which the models were built."""
    identity: Mapping[str, Any] | None = None
    """The identity of the data; None where the file was just written with the same data."""


def measure(subject: Subject, stop: Callable[[], str | None] = lambda: None) -> dict[str, float] | None:
    """Return the metrics of the models, with the file's weights, on the data; None if `stop` interrupted.

    Raises:
        CheckpointMismatch: the file belongs to another model.
    """
    with running(subject) as (models, loaders):
        return evaluate_each(models, subject.learner, loaders=loaders, strategy=subject.strategy, stop=stop)


@contextmanager
def running(subject: Subject) -> Iterator[tuple[dict[str, Any], Any]]:
    """Yield the models, with the file's weights and number format, and a loader of the data in its own order.

    Random numbers inside the block are seeded from (seed, step) of the file; the generators are restored after it.

    Raises:
        CheckpointMismatch: the file belongs to another model.
        ConfigError: the models or the learner raised an error on the data.
    """
    config, strategy = subject.config, subject.strategy
    entries = read_for(strategy, subject.path)
    _restore(subject, entries)
    loaders = {name: evaluated(one, subject.loading) for name, one in sets_of(subject.dataset).items()}
    precision = Precision(config.device.precision.value, strategy.device)
    with isolated(config.seed, entries["global_step"]), precision.autocast():
        try:
            # Of a divided model the dry run has counted the passes.
            with bounded({} if strategy.runs_together else subject.models, config.model, subject.trust):
                yield {name: strategy.wrap(model) for name, model in subject.models.items()}, loaders
        except (RunnerError, OSError):
            raise
        except Exception as error:
            raise ConfigError(f"{subject.path} does not run on these data: {raised(error)}") from error


def _restore(subject: Subject, entries: Mapping[str, Any]) -> None:
    if subject.identity is not None:
        allowed = subject.config.resume_allow
        for line in compare_identities(entries.get(IDENTITY), subject.identity, subject.path, allowed=allowed):
            print(line, file=sys.stderr)
    stored = states(entries)
    for name, model in subject.models.items():
        if name not in stored:
            raise CheckpointMismatch(f"{subject.path} has no model {name}; it belongs to another learner")
        part = inference_part(name, stored)
        take_buffers(model, stored[part])
        restore_part(part, model, subject.strategy.localize(model, stored[part], subject.path), subject.path)
    if isinstance(subject.learner, Stateful):
        if "learner" in stored:
            if isinstance(subject.learner, Module):
                take_buffers(subject.learner, stored["learner"])
            restore_part("learner", subject.learner, stored["learner"], subject.path)
        else:
            print(f"{subject.path} has no state of the learner, which stays as built", file=sys.stderr)
