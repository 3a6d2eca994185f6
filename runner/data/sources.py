"""Where batches come from: a map-style data set, or a stream."""

from collections.abc import Iterator
from typing import Any, Protocol

from runner.data.loaders.batches import Batch
from runner.data.loaders.delivery import Loading
from runner.data.loaders.loading import EvaluationLoader
from runner.data.streams.loading import StreamEvaluation
from runner.data.streams.worker import is_stream
from runner.stateful import Stateful


class Position(Stateful, Protocol):
    """A position in the training data."""

    @property
    def sample(self) -> int:
        """The number of samples consumed in the current epoch."""

    def advance(self, batch: Batch) -> bool:
        """Count one consumed batch; return True at the end of the epoch."""


class Source(Protocol):
    """Delivers training batches forever, from any position on."""

    @property
    def size(self) -> int | None:
        """The number of samples, None if it is not known."""

    @property
    def steps_per_epoch(self) -> int | None:
        """The number of batches in an epoch, None if it is not known."""

    @property
    def loading(self) -> Loading:
        """How its batches are made."""

    def position(self) -> Position:
        """Return the position before the first batch."""

    def divided(self, accumulate: int) -> "Source":
        """Return a source of the same batches, each in `accumulate` micro-batches, if it has fewer."""

    def batches(self, position: Any, *, epoch: int, turn: int = 0) -> Iterator[Batch]:
        """Return an endless iterator from a position, one of this source's, on."""


Evaluated = EvaluationLoader | StreamEvaluation
"""Delivers each sample once, per iteration."""


def evaluated(dataset: Any, loading: Loading) -> Evaluated:
    """Return a loader of a whole data set; ConfigError if the data set is unusable."""
    if not is_stream(dataset):
        return EvaluationLoader(dataset, loading)
    return StreamEvaluation(dataset, loading)
