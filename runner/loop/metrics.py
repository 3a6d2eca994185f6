"""The figures of a whole data set, from a learner's values per batch."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import partial, reduce
from itertools import zip_longest
from operator import add
from typing import Any, Self

import torch
from torch import Tensor, nn

from runner.errors import ConfigError
from runner.learners import Accumulator, Learner, Summarizing
from runner.loop.answers import check_evaluation, check_figures, check_same, check_summary, is_row
from runner.strategy.processes import Processes
from runner.strategy.strategies import Strategy


class Figures:
    """Collects figures; resets every accumulator on exit."""

    def __init__(self, learner: Learner, strategy: Strategy) -> None:
        self._learner, self._device, self._processes = learner, strategy.device, strategy.processes
        self._runs_together = strategy.runs_together
        self._spare: Learner | None = None
        """A copy that gets stand-ins, so that they leave no trace in the learner's accumulators."""
        self._totals: dict[str, Tensor] = {}
        self._accumulators: dict[str, Accumulator] = {}
        self._rows: dict[str, list[Tensor]] = {}
        self._samples = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for accumulator in self._accumulators.values():
            accumulator.reset()

    def measure(self, models: Mapping[str, nn.Module], part: Any, count: int) -> Any:
        """Evaluate a batch of `count` samples, and return the learner's values; None for a stand-in, with 0 samples.

        Raises:
            ConfigError: see `add`.
        """
        if count:
            values = self._learner.evaluation(models, part)
            self.add(values, count)
            return values
        if self._runs_together or not (self._samples or self._spare):
            self._stand_in(models, part)
        return None

    def _stand_in(self, models: Mapping[str, nn.Module], part: Any) -> None:
        """Run what other processes run now; without a sample here, take part in their accumulators with empty ones."""
        self._spare = self._spare or deepcopy(self._learner)
        values = self._spare.evaluation(models, part)
        if not self._samples and isinstance(values, Mapping):
            self._accumulators = {name: value for name, value in values.items() if isinstance(value, Accumulator)}
            for accumulator in self._accumulators.values():
                accumulator.reset()

    def add(self, values: Mapping[str, Any], count: int) -> None:
        """Add a learner's values for `count` samples.

        Raises:
            ConfigError: anything but figures, accumulators and rows.
        """
        named = values.items() if isinstance(values, Mapping) else ()
        accumulators = {name: value for name, value in named if isinstance(value, Accumulator)}
        former = {**accumulators, **self._accumulators}
        self._accumulators |= accumulators
        check_evaluation(values, self._learner, count)
        for name, value in accumulators.items():
            check_same(name, value, former[name], self._learner)
        for name, value in values.items():
            if name in self._accumulators:
                continue
            if is_row(name, value, count, self._learner):
                rows = self._rows.setdefault(name, [])
                check_same(name, value, rows[0] if rows else value, self._learner)
                rows.append(value.detach().cpu())
            else:
                self._totals[name] = self._totals.get(name, torch.zeros((), device=self._device)) + _sum(value, count)
        self._samples += count

    def of_all(self) -> dict[str, float]:
        """Return the figures over all samples, the same in every process.

        Raises:
            ConfigError: a metric of the learner is missing or not a scalar, or an accumulator cannot be merged.
        """
        together = merged(self._accumulators, self._processes)
        totals = {name: total.cpu() for name, total in self._totals.items()}
        everywhere = self._processes.gather((self._samples, totals, self._rows))
        return self._processes.once(lambda: self._figures(everywhere, together))

    def _figures(self, everywhere: Sequence[Any], accumulators: Mapping[str, Callable[[], Any]]) -> dict[str, float]:
        samples, totals, rows = zip(*everywhere, strict=True)
        figures = {name: float(total) / sum(samples) for name, total in _sums(totals).items()}
        computed = {name: compute() for name, compute in accumulators.items()}
        if isinstance(self._learner, Summarizing):
            summed = self._learner.summary(_in_order(rows))
            check_summary(summed, {**figures, **computed}, self._learner)
            computed = {**computed, **summed}
        check_figures(computed, figures, self._learner)
        return figures | {name: float(value) for name, value in computed.items()}


def _sums(totals: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the sums over all processes, from those of each."""
    names = dict.fromkeys(name for one in totals for name in one)
    return {name: reduce(add, (one[name] for one in totals if name in one)) for name in names}


def _in_order(rows: Sequence[Mapping[str, Sequence[Tensor]]]) -> dict[str, Tensor]:
    """Return the rows in the order of the data set, from those of each process's share of every batch."""
    return {
        name: torch.cat(
            [
                piece
                for batch in zip_longest(*(one.get(name, ()) for one in rows))
                for piece in batch
                if piece is not None
            ]
        )
        for name in dict.fromkeys(name for one in rows for name in one)
    }


def _sum(value: Any, count: int) -> Any:
    """Return the sum over the samples, from their mean or from a value per sample."""
    several = isinstance(value, Tensor) and value.numel() != 1
    return value.float().sum() if several else value * count


def merged(accumulators: Mapping[str, Accumulator], processes: Processes) -> dict[str, Callable[[], Any]]:
    """Return, for each accumulator, what computes its figure over all processes, for the main process to call.

    With several processes a metric of torchmetrics synchronises itself; another needs `merge_state(metrics)`, as
    torcheval's have.

    Raises:
        ConfigError: an accumulator has neither.
    """
    return {name: _of_all(name, accumulator, processes) for name, accumulator in accumulators.items()}


def _of_all(name: str, accumulator: Any, processes: Processes) -> Callable[[], Any]:
    if processes.size == 1:
        found: Callable[[], Any] = accumulator.compute
        return found
    if hasattr(accumulator, "sync_context"):  # torchmetrics; every process must call it
        return partial(_same, accumulator.compute())
    if not callable(merge := getattr(accumulator, "merge_state", None)):
        raise ConfigError(
            f"the accumulator {name!r}, a {type(accumulator).__name__}, has no `merge_state(metrics)`, by which "
            "several processes make one figure; add it, or return rows for a method `summary(rows)`"
        )
    others = processes.gather(accumulator)[1:]
    return lambda: _computed(accumulator, merge, others)


def _computed(accumulator: Any, merge: Callable[[Any], object], others: list[Any]) -> Any:
    merge(others)
    return accumulator.compute()


def _same(value: Any) -> Any:
    return value
