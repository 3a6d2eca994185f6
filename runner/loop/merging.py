"""Accumulators of several processes, as one."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from runner.errors import ConfigError
from runner.learners import Accumulator
from runner.strategy.processes import Processes


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
