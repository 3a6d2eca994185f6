"""Checks that built objects fit together, before anything is written."""

import inspect
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer, SparseAdam

from runner.data.splits import place_of, sets_of
from runner.errors import ConfigError
from runner.learners import Gan, trained_by
from runner.loop.answers import updates_of
from runner.models import Generator

_SET_NAME = re.compile(r"[A-Za-z0-9_-]+")
_METHODS = ("updates", "training", "evaluation")
_STATE = ("state_dict", "load_state_dict")


def check_data(data: Any) -> None:
    """Raise ConfigError for data without any split, or with invalid names of sets."""
    name = type(data).__name__
    if all(getattr(data, split, None) is None for split in ("train", "val", "test")):
        raise ConfigError(f"data: {name} has no `train`; give it `train` and, optionally, `val` and `test`")
    for split in ("val", "test"):
        sets = sets_of(getattr(data, split, None))
        for one in sets:
            if (one or len(sets) > 1) and not _SET_NAME.fullmatch(one):
                raise ConfigError(f"data: {name}.{split} has a set called {one!r}; use letters, digits, - and _ only")


def check_trains(data: Any) -> None:
    """Raise ConfigError for data that only evaluate: without `train`."""
    if getattr(data, "train", None) is None:
        raise ConfigError(
            f"data: {type(data).__name__} has no `train`, so a checkpoint can only be evaluated on it; give it `train`"
        )


def measured_of(data: Any, learner: Any) -> list[str]:
    """Return the metrics that an evaluation gives: those of each set of `val`, or without `val` the training losses."""
    if sets := sets_of(getattr(data, "val", None)):
        return [f"val/{place_of(name, metric)}" for name in sets for metric in learner.metrics]
    models = trained_by(learner)
    own = ["train/loss"] if models == ("model",) else [f"train/{name}_loss" for name in models]
    together = models != ("model",) and any(not isinstance(names, str) for names in updates_of(learner, 0, models))
    return ["train/loss", *own] if together else own


def check_learner(learner: Any) -> None:
    """Raise ConfigError for a learner that lacks what the loop needs."""
    name = type(learner).__name__
    for method in _METHODS:
        if not callable(getattr(type(learner) if isinstance(learner, nn.Module) else learner, method, None)):
            raise ConfigError(f"learner: {name} has no method `{method}`; it needs {', '.join(_METHODS)} and `metrics`")
    if not hasattr(learner, "metrics"):
        raise ConfigError(
            f'learner: {name} has no `metrics`; give it the names that `evaluation` returns, such as ("loss",)'
        )
    states = [callable(getattr(learner, method, None)) for method in _STATE]
    if any(states) and not all(states):
        raise ConfigError(
            f"learner: {name} has only one of {' and '.join(_STATE)}, so its state would not be saved; give it both"
        )
    for attribute, example in (("metrics", "loss"), ("models", "model")):
        names = getattr(learner, attribute, (example,))
        if isinstance(names, str) or not isinstance(names, Collection) or not names:
            raise ConfigError(f'learner: {name} has {attribute} = {names!r}; give it a tuple such as ("{example}",)')
    _check_frozen(learner, name)


def _check_frozen(learner: Any, name: str) -> None:
    models, frozen = getattr(learner, "models", ("model",)), getattr(learner, "frozen", ())
    if isinstance(frozen, str) or not isinstance(frozen, Collection) or not set(frozen) < set(models):
        raise ConfigError(
            f"learner: {name} has frozen = {frozen!r}; name some of its models, {', '.join(models)}, but not all"
        )


def check_every(every: Any, learner: Any) -> None:
    """Raise ConfigError unless `learner.every`, if set, maps trained models to whole numbers of steps."""
    if every is not None and not isinstance(every, Mapping):
        raise ConfigError(
            f"learner.every={every} is invalid; use a mapping, such as {{discriminator: 5}}; every is a key of the "
            "runner, so rename the argument of your class"
        )
    for name, count in (every or {}).items():
        if name not in trained_by(learner):
            raise ConfigError(f"learner.every names {name}; the trained models are {', '.join(trained_by(learner))}")
        if type(count) is not int or count < 1:
            raise ConfigError(f"learner.every.{name}={count} is invalid; use a whole number of steps, at least 1")


def check_latent(learner: Any, models: Mapping[str, nn.Module]) -> None:
    """Raise ConfigError for a generator whose latent size differs from the learner's."""
    generator = models.get("generator")
    if type(learner) is Gan and isinstance(generator, Generator) and learner.latent != generator.latent:
        raise ConfigError(
            f"learner.latent={learner.latent} and model.generator.latent={generator.latent} differ; "
            "set both to the same number"
        )


def check_model(model: nn.Module, name: str) -> None:
    """Raise ConfigError for a lazy model, which has no parameters before its first batch."""
    if lazy := next((key for key, parameter in model.named_parameters() if is_lazy(parameter)), None):
        raise ConfigError(
            f"the {name}'s {lazy} has no shape before the first batch, so no optimizer can train it; give its layer "
            "the number of inputs, which the data provide as in_features or in_channels"
        )


def check_optimizer(optimizer: Optimizer, model: nn.Module, place: str) -> None:
    """Raise ConfigError for an optimizer whose step needs more than the gradients of one batch."""
    name = type(optimizer).__name__
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    if closure is not None and closure.default is closure.empty:
        raise ConfigError(
            f"{place}: {name}.step needs a closure, which a run does not have; choose another, such as adamw"
        )
    if any(group.get("capturable") for group in optimizer.param_groups):
        kinds = {parameter.device.type for group in optimizer.param_groups for parameter in group["params"]}
        if other := sorted(kinds - {"cuda", "xpu"}):
            raise ConfigError(
                f"{place}.capturable=true is for CUDA graphs, but the model is on {other[0]}; leave it out"
            )
    if isinstance(optimizer, SparseAdam) and (dense := next(_dense(model), None)):
        raise ConfigError(
            f"{place}: {name} takes sparse gradients only, but that of {dense} is dense; choose another, such as adamw"
        )


def _dense(model: nn.Module) -> Iterator[str]:
    """Yield the names of the trained parameters whose gradient is dense."""
    for place, module in model.named_modules():
        sparse = isinstance(module, (nn.Embedding, nn.EmbeddingBag)) and module.sparse
        for name, parameter in module.named_parameters(place, recurse=False):
            if parameter.requires_grad and not sparse:
                yield name


def check_gradients(models: Mapping[str, nn.Module], find_unused: bool) -> None:
    """Raise ConfigError for a parameter without a gradient, for which other processes would wait."""
    for name, model in models.items():
        for key, parameter in model.named_parameters():
            if parameter.requires_grad and parameter.grad is None and not find_unused:
                raise ConfigError(
                    f"the {name}'s {key} has no gradient after a backward pass, and several processes would wait for "
                    "it; add strategy.find_unused=true, or freeze it"
                )
