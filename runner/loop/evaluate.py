"""Evaluation: the learner's metrics over a data set; changes no state."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from runner.data.loaders.batches import move
from runner.data.sources import Evaluated
from runner.data.splits import place_of
from runner.learners import Learner
from runner.loop.metrics import Figures
from runner.strategy.strategies import Strategy


def evaluate(
    models: Mapping[str, nn.Module],
    learner: Learner,
    *,
    loader: Evaluated,
    strategy: Strategy,
    stop: Callable[[], str | None] = lambda: None,
) -> dict[str, float] | None:
    """Return each metric over all samples, in `eval()` mode; None if `stop` interrupted it.

    Raises:
        ConfigError: the learner returned anything but its metrics.
    """
    with torch.no_grad(), evaluation_mode(models, learner), Figures(learner, strategy) as figures:
        for batch in loader:
            if stop():
                return None
            figures.measure(models, move(batch.whole, strategy.device), batch.here)
        return figures.of_all()


def evaluate_each(
    models: Mapping[str, nn.Module],
    learner: Learner,
    *,
    loaders: Mapping[str, Evaluated],
    strategy: Strategy,
    stop: Callable[[], str | None] = lambda: None,
) -> dict[str, float] | None:
    """Return the metrics of each set, prefixed with its name; None if `stop` interrupted it."""
    found: dict[str, float] = {}
    for name, loader in loaders.items():
        metrics = evaluate(models, learner, loader=loader, strategy=strategy, stop=stop)
        if metrics is None:
            return None
        found |= {place_of(name, metric): value for metric, value in metrics.items()}
    return found


@contextmanager
def evaluation_mode(models: Mapping[str, nn.Module], learner: Any = None) -> Iterator[None]:
    """Put every module, also a learner's own, into `eval()` mode, and restore each one's mode afterwards."""
    whole = [*models.values(), *modules_within(learner)]
    modules = [module for model in whole for module in model.modules()]
    modes = [module.training for module in modules]
    for model in whole:
        model.eval()
    try:
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode


def modules_within(learner: Any) -> list[nn.Module]:
    """Return a learner's modules: itself, or its attributes, also inside lists, tuples and dictionaries."""
    if isinstance(learner, nn.Module):
        return [learner]
    held = [*getattr(learner, "__dict__", {}).values()]
    held += [item for value in held if isinstance(value, (list, tuple)) for item in value]
    held += [item for value in held if isinstance(value, dict) for item in value.values()]
    return [value for value in held if isinstance(value, nn.Module)]
