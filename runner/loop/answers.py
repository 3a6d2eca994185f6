"""What a learner answers: fit for the loop, or one sentence that names the method and what it is to return."""

from collections.abc import Container, Iterable, Iterator, Mapping
from numbers import Real
from typing import Any

from torch import Tensor

from runner.errors import ConfigError
from runner.learners import Learner


def updates_of(learner: Learner, step: int, models: Mapping[str, Any]) -> Iterator[str]:
    """Yield the models to update in a step, one after the other.

    Raises:
        ConfigError: the learner names something else than its models.
    """
    names = learner.updates(step)
    known = ", ".join(models)
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise ConfigError(f"{_place(learner, 'updates')} returned {names!r}; return a tuple of names out of: {known}")
    for name in names:
        if name not in models:
            raise ConfigError(f"{_place(learner, 'updates')} named {name!r}, which is no model; the models are {known}")
        yield name


def check_training(values: Any, learner: Learner) -> None:
    """Raise ConfigError for anything but scalar tensors by name, of which "loss" has a gradient."""
    place = _place(learner, "training")
    _check_names(values, ("loss",), place)
    for name, value in values.items():
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise ConfigError(f"{place} returned {name!r} as {_kind(value)}; return a scalar tensor, such as a mean")
    if not values["loss"].requires_grad:
        raise ConfigError(f'{place} returned a "loss" without a gradient; compute it from what the model returns')


def check_evaluation(values: Any, learner: Learner) -> None:
    """Raise ConfigError for anything but scalars by name, all of `metrics` among them."""
    place = _place(learner, "evaluation")
    _check_names(values, learner.metrics, place)
    for name, value in values.items():
        if not isinstance(value, (Tensor, Real)) or (isinstance(value, Tensor) and value.numel() != 1):
            raise ConfigError(f"{place} returned {name!r} as {_kind(value)}; return a scalar, the mean over the batch")


def _check_names(values: Any, wanted: Iterable[str], place: str) -> None:
    names: Container[str] = values if isinstance(values, Mapping) else ()
    if missing := [name for name in wanted if name not in names]:
        found = ", ".join(map(repr, values)) or "nothing" if isinstance(values, Mapping) else _kind(values)
        raise ConfigError(
            f"{place} returned {found} and no {', '.join(map(repr, missing))}; return a dictionary with it"
        )


def _place(learner: Learner, method: str) -> str:
    return f"{type(learner).__name__}.{method}"


def _kind(value: Any) -> str:
    return f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
