"""Learners: the models of a problem with their losses and metrics, and which model is updated when."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from runner.learners.classification import Classification
from runner.learners.gan import Gan
from runner.learners.regression import Regression

__all__ = [
    "Accumulator",
    "Classification",
    "Gan",
    "Learner",
    "Predicting",
    "Regression",
    "Summarizing",
    "frozen_of",
    "training_of",
]


class Learner(Protocol):
    """What the loop asks for; about 30 lines to write.

    One that is `Stateful` is a part of the checkpoint, `learner_state_dict`.
    """

    metrics: tuple[str, ...]
    """The names that `evaluation` returns."""
    models: tuple[str, ...]
    """The names of the models: ("model",), or ("generator", "discriminator").

    A learner may also have `frozen`, the names of those that it does not train: they stay in `eval()` mode.
    """

    def updates(self, step: int) -> Sequence[str]:
        """Return the models to update in this step, one after the other."""

    def training(self, models: Mapping[str, nn.Module], name: str, batch: Any) -> Mapping[str, Tensor]:
        """Return "loss", a scalar to be minimised by `models[name]`, and further scalars to report."""

    def evaluation(self, models: Mapping[str, nn.Module], batch: Any) -> Mapping[str, Tensor]:
        """Return each metric: its mean over the batch, or a value a sample (batch,), or an `Accumulator`.

        Of a `Summarizing` learner further entries, each (batch, ...), are its rows.
        """


@runtime_checkable
class Summarizing(Protocol):
    """What a learner may also have, for figures that are no mean over samples: F1, AUC, perplexity."""

    def summary(self, rows: Mapping[str, Tensor]) -> Mapping[str, Any]:
        """Return the metrics that `evaluation` did not give, from its rows of the whole set.

        Each of the `rows` is (samples, ...), on the CPU, in the data set's order.
        """


@runtime_checkable
class Accumulator(Protocol):
    """A metric that gathers by itself, as those of torchmetrics do; the learner calls its `update`."""

    def update(self, *args: Any, **kwargs: Any) -> Any:
        """Take a batch."""

    def compute(self) -> Any:
        """Return the figure of all batches so far, a scalar."""

    def reset(self) -> Any:
        """Forget them."""


def frozen_of(learner: Any) -> tuple[str, ...]:
    """Return the models that a learner uses and does not train, such as a teacher, by its attribute `frozen`."""
    return tuple(getattr(learner, "frozen", ()))


def training_of(learner: Learner) -> Callable[..., Mapping[str, Tensor]]:
    """Return the method `training`, also of a learner that is an `nn.Module`, whose mode of this name hides it."""
    method: Callable[..., Mapping[str, Tensor]] = (
        type(learner).training.__get__(learner) if isinstance(learner, nn.Module) else learner.training
    )
    return method


@runtime_checkable
class Predicting(Protocol):
    """What a learner may also have, for `task=predict`."""

    def prediction(self, models: Mapping[str, nn.Module], batch: Any) -> Mapping[str, Tensor]:
        """Return the outputs for a batch by name, each (batch, ...): one row a sample, in its order.

        Each name becomes a column, or several, of the file: `{"output": models["model"](batch[0])}` is
        all that a regression needs. The models are in `eval()` mode, and no gradient is kept.
        """
