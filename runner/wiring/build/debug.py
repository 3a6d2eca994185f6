"""`debug.*`: less data, and contexts that watch the training from outside; the loop knows of neither."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch.autograd import set_detect_anomaly

from runner.data.selection import selection
from runner.loop.plan import Plan
from runner.tracking.profile import profiled


@dataclass(frozen=True)
class Splits:
    """What is left of the data."""

    train: Any
    val: Any
    test: Any


def limited(data: Any, config: Mapping[str, Any]) -> Any:
    """Return the data as `debug.limit_train`, `debug.limit_eval` and `debug.overfit` leave it.

    The samples that stay are always the same ones; those to train on come in each epoch's own order.
    An overfitting run trains and validates on the same, and has nothing to test.
    """
    debug, batch_size = config["debug"], config["batch_size"]
    if debug["overfit"]:
        same = selection(data.train, debug["overfit"] * batch_size)
        return Splits(same, same, None)
    if not debug["limit_train"] and not debug["limit_eval"]:
        return data

    def part(dataset: Any, batches: int | None) -> Any:
        return dataset if batches is None or dataset is None else selection(dataset, batches * batch_size)

    train, evaluated = debug["limit_train"], debug["limit_eval"]
    test = getattr(data, "test", None)
    return Splits(part(data.train, train), part(data.val, evaluated), part(test, evaluated))


@contextmanager
def watched(plan: Plan, config: Mapping[str, Any], run_directory: Path, first_step: int) -> Iterator[Plan]:
    """Yield the plan to train by, while `debug.profile` and `debug.anomaly` are in force."""
    debug = config["debug"]
    with ExitStack() as contexts:
        if debug["anomaly"]:
            contexts.enter_context(set_detect_anomaly(True))
        if debug["profile"]:
            step = contexts.enter_context(profiled(run_directory, first_step=first_step, steps=debug["profile"]))
            loader: Any = _Calling(plan.train_loader, step)
            plan = replace(plan, train_loader=loader)
        yield plan


class _Calling:
    """A loader that calls `call` between the steps of two batches."""

    def __init__(self, loader: Any, call: Callable[[], None]) -> None:
        self._loader, self._call = loader, call

    def batches(self, **position: int) -> Iterator[Any]:
        for batch in self._loader.batches(**position):
            yield batch
            self._call()
