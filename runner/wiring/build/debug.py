"""`debug.*`: less data, and contexts that watch training; the loop knows of neither."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch.autograd import set_detect_anomaly

from runner.data.loaders.order import Shortened
from runner.data.selection import selection
from runner.data.splits import sets_of
from runner.data.streams.limited import Limited
from runner.data.streams.worker import is_stream
from runner.loop.plan import Plan
from runner.tracking.profile import profiled
from runner.wiring.build.loaders import order_of
from runner.wiring.schema.running import Debug


@dataclass(frozen=True)
class Splits:
    """The limited splits of a data set, with its own collate and order."""

    train: Any
    val: Any
    test: Any
    collate: Any
    order: Any = None


def limited(data: Any, debug: Debug, batch_size: int) -> Any:
    """Return the data as limited by `debug.limit_train`, `debug.limit_eval` and `debug.overfit`.

    The chosen samples are always the same; each epoch has its own order of them. Data with an order of their own, and
    streams, keep the first batches of each epoch. An overfitting run trains and validates on the same samples, without
    a test.
    """
    collate = getattr(data, "collate", None)
    if debug.overfit:
        same = selection(data.train, debug.overfit * batch_size)
        return Splits(same, same, None, collate)
    if not debug.limit_train and not debug.limit_eval:
        return data

    def part(dataset: Any, batches: int | None) -> Any:
        return dataset if batches is None or dataset is None else selection(dataset, batches * batch_size)

    def beginning(dataset: Any, batches: int | None) -> Any:
        if batches is None or not is_stream(dataset):
            return part(dataset, batches)
        return Limited(dataset, batches * batch_size)

    train, evaluated = debug.limit_train, debug.limit_eval
    val, test = (
        {name: part(one, evaluated) for name, one in sets_of(getattr(data, split, None)).items()} or None
        for split in ("val", "test")
    )
    if (order := order_of(data)) is None:
        return Splits(beginning(data.train, train), val, test, collate)
    return Splits(data.train, val, test, collate, order if train is None else Shortened(order, train, batch_size))


@contextmanager
def watched(plan: Plan, debug: Debug, run_directory: Path, first_step: int) -> Iterator[Plan]:
    """Yield the plan to train by, with `debug.profile` and `debug.anomaly` active."""
    with ExitStack() as contexts:
        if debug.anomaly:
            contexts.enter_context(set_detect_anomaly(True))
        if debug.profile:
            step = contexts.enter_context(profiled(run_directory, first_step=first_step, steps=debug.profile))
            loader: Any = _Calling(plan.train_loader, step)
            plan = replace(plan, train_loader=loader)
        yield plan


class _Calling:
    """A loader that calls `call` after each batch."""

    def __init__(self, loader: Any, call: Callable[[], None]) -> None:
        self._loader, self._call = loader, call

    def divided(self, accumulate: int) -> "_Calling":
        return _Calling(self._loader.divided(accumulate), self._call)

    def batches(self, position: Any, **at: int) -> Iterator[Any]:
        for batch in self._loader.batches(position, **at):
            yield batch
            self._call()
