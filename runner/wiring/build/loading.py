"""From the data of a config to loaders, and how long the run is by them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch.utils.data import Sampler

from runner.data.loaders.loading import TIMEOUT, EvaluationLoader, Loading, TrainLoader
from runner.data.loaders.order import Own
from runner.data.splits import sets_of
from runner.errors import ConfigError
from runner.optim.schedules import Horizon
from runner.wiring.schema import Config


@dataclass(frozen=True)
class Position:
    """Where the data stand: after so many steps, in so many epochs, and of the next one so many samples."""

    step: int = 0
    epoch: int = 0
    sample: int = 0


def loaders(config: Config, data: Any, device: str) -> tuple[TrainLoader, dict[str, EvaluationLoader]]:
    """Return the loader of training, and that of each set of `val` by its name.

    Raises:
        ConfigError: a split, or what the data say of their batches and their order, is of no use.
    """
    loading = loading_of(config, data, device)
    train = TrainLoader(
        data.train,
        loading,
        seed=config.seed,
        accumulate=config.accumulate,
        order=order_of(data),
        even=config.epochs is not None,
    )
    return train, {name: EvaluationLoader(part, loading) for name, part in sets_of(getattr(data, "val", None)).items()}


def loading_of(config: Config, data: Any, device: str) -> Loading:
    """Return how batches are made of these data: by which processes, by whose `collate`, and for which device."""
    return Loading(
        config.batch_size,
        workers=config.data.get("workers", 0),
        timeout=config.data.get("timeout", TIMEOUT),
        collate=collate_of(data),
        pin=device == "cuda",
    )


def collate_of(data: Any) -> Callable[[list[Any]], Any] | None:
    """Return the data's own way from a list of samples to a batch; ConfigError for something else of this name."""
    collate = getattr(data, "collate", None)
    if collate is not None and not callable(collate):
        raise ConfigError(
            f"data: {type(data).__name__}.collate is a {type(collate).__name__}; let it be a method "
            "`collate(samples)` that returns a batch, or give it another name"
        )
    return collate


def order_of(data: Any) -> Own | None:
    """Return the order that the data have of their own; ConfigError for something else of this name."""
    order = getattr(data, "order", None)
    if order is not None and not callable(order) and not isinstance(order, Sampler):
        raise ConfigError(
            f"data: {type(data).__name__}.order is a {type(order).__name__}; let it be a method "
            "`order(epoch, generator)` or a sampler of torch's, or give it another name"
        )
    return order


def horizon_of(config: Config, train: TrainLoader, at: Position) -> Horizon:
    """Return the run's length in steps: of epochs and max_steps, what is reached first.

    Counted from where the run stands, since the steps behind it may have had another size.
    """
    limits = [] if config.max_steps is None else [config.max_steps]
    if (epochs := config.epochs) is not None:
        whole = epochs - at.epoch - 1
        limits.append(
            at.step + (train.order.steps(at.epoch, at.sample) + whole * train.steps_per_epoch if whole >= 0 else 0)
        )
    if not limits and config.max_time is None:
        raise ConfigError("the run has no end: set epochs, max_steps or max_time")
    return Horizon(min(limits, default=None), train.steps_per_epoch)
