"""Learners: the models of a problem, their losses and metrics, and which model is updated when."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from runner.learners.classification import Classification
from runner.learners.gan import Gan
from runner.learners.mixing import Mixing
from runner.learners.regression import Regression

__all__ = [
    "Accumulator",
    "Classification",
    "Counting",
    "Gan",
    "Learner",
    "Mixing",
    "Predicting",
    "Regression",
    "Summarizing",
    "frozen_of",
    "trained_by",
    "training_of",
]


class Learner(Protocol):
    """What the loop needs; about 30 lines to write.

    A `Stateful` learner is part of the checkpoint, as `learner_state_dict`.
    """

    metrics: tuple[str, ...]
    """The names that `evaluation` returns."""
    models: tuple[str, ...]
    """The names of the models: ("model",), or ("generator", "discriminator").

    A learner may also have `frozen`, the names of models that it does not train: they stay in `eval()` mode.
    """

    def updates(self, step: int) -> Sequence[str | tuple[str, ...]]:
        """Return the models to update in this step, in order; a tuple of names is updated together, from one loss."""

    def training(self, models: Mapping[str, nn.Module], name: Any, batch: Any) -> Mapping[str, Tensor]:
        """Return "loss", the scalar that `models[name]` minimises, and further scalars to report.

        `name` is an entry of `updates`: a tuple asks for the loss of all its models.
        """

    def evaluation(self, models: Mapping[str, nn.Module], batch: Any) -> Mapping[str, Tensor]:
        """Return each metric: its mean over the batch, a value per sample (batch,), or an `Accumulator`.

        Further entries of a `Summarizing` learner, each (batch, ...), are its rows.
        """


@runtime_checkable
class Summarizing(Protocol):
    """An optional method of a learner, for metrics that are not means over samples: F1, AUC, perplexity."""

    def summary(self, rows: Mapping[str, Tensor]) -> Mapping[str, Any]:
        """Return the metrics that `evaluation` did not, from its rows of the whole set.

        Each of the `rows` is (samples, ...), on the CPU, in the data set's order.
        """


@runtime_checkable
class Accumulator(Protocol):
    """A metric that accumulates over batches, such as one of torchmetrics; the learner calls its `update`."""

    def update(self, *args: Any, **kwargs: Any) -> Any:
        """Add a batch."""

    def compute(self) -> Any:
        """Return the metric of all batches so far, a scalar."""

    def reset(self) -> Any:
        """Forget all batches."""


def frozen_of(learner: Any) -> tuple[str, ...]:
    """Return the models that a learner uses but does not train, such as a teacher: its attribute `frozen`."""
    return tuple(getattr(learner, "frozen", ()))


def trained_by(learner: Any) -> tuple[str, ...]:
    """Return the models that a learner trains."""
    return tuple(name for name in getattr(learner, "models", ("model",)) if name not in frozen_of(learner))


def training_of(learner: Learner) -> Callable[..., Mapping[str, Tensor]]:
    """Return the method `training`, also from an `nn.Module`, whose attribute `training` hides it."""
    method: Callable[..., Mapping[str, Tensor]] = (
        type(learner).training.__get__(learner) if isinstance(learner, nn.Module) else learner.training
    )
    return method


@runtime_checkable
class Counting(Protocol):
    """An optional method of a learner, for `max_tokens`."""

    def tokens(self, batch: Any) -> int:
        """Return the number of tokens in a micro-batch, which is not on the device yet."""


@runtime_checkable
class Predicting(Protocol):
    """An optional method of a learner, for `task=predict`."""

    def prediction(self, models: Mapping[str, nn.Module], batch: Any) -> Mapping[str, Any]:
        """Return the outputs for a batch by name, each (batch, ...): one row per sample, in order.

        Outputs of several lengths are lists with an entry per sample: tensors, strings, numbers, lists, dictionaries.

        Each name becomes one or more columns of the file. A regression needs only
        `{"output": models["model"](batch[0])}`. The models are in `eval()` mode, without gradients.
        """
