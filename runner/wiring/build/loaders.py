"""From data to loaders, and the length of the run in steps."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch.utils.data import Sampler

from runner.data.loaders.batches import in_channels_last
from runner.data.loaders.delivery import TIMEOUT, Loading, as_it_is
from runner.data.loaders.loading import TrainLoader
from runner.data.loaders.order import Own
from runner.data.sources import Evaluated, Source, evaluated
from runner.data.splits import sets_of
from runner.data.streams.loading import StreamLoader
from runner.data.streams.worker import is_stream
from runner.errors import ConfigError
from runner.learners import Counting
from runner.optim.schedules import Horizon
from runner.strategy.processes import Alone, Processes
from runner.wiring.schema import Config
from runner.wiring.schema.rules import OnNonFinite, OnSpike


@dataclass(frozen=True)
class Position:
    """A position in the data: steps and epochs done, and samples used of the current epoch."""

    step: int = 0
    epoch: int = 0
    sample: int = 0


def loaders(config: Config, data: Any, device: str, processes: Processes) -> tuple[Source, dict[str, Evaluated]]:
    """Return the training loader, and the loader of each set of `val` by its name, with this process's share.

    Raises:
        ConfigError: a split, or the data's own collate or order, is invalid.
    """
    loading, order = loading_of(config, data, device, processes), order_of(data)
    known = {"seed": config.seed, "accumulate": config.accumulate}
    train: Source
    if is_stream(data.train):
        _check_stream(config, order)
        train = StreamLoader(data.train, loading, **known)
    else:
        even, drop_last = config.epochs is not None, config.data.get("drop_last", False)
        train = TrainLoader(data.train, loading, **known, order=order, even=even, drop_last=drop_last)
    return train, {name: evaluated(part, loading) for name, part in sets_of(getattr(data, "val", None)).items()}


def _check_stream(config: Config, order: Own | None) -> None:
    """Raise ConfigError for what a stream cannot give: another order, or a length in epochs."""
    if config.micro_batch_size is not None:
        raise ConfigError(
            "micro_batch_size=auto makes a batch again, which a stream cannot give; use accumulate=2 or more"
        )
    if order is not None:
        raise ConfigError("data: a stream has its own order; leave out the method `order`")
    if config.epochs is not None:
        raise ConfigError("a stream does not tell how many steps an epoch has; set the length with max_steps=...")
    if config.data.get("drop_last"):
        raise ConfigError(
            "data.drop_last=true needs a known number of samples, which a stream does not tell; leave it out"
        )
    rollbacks = {
        "on_nonfinite": config.on_nonfinite is OnNonFinite.rollback,
        "on_spike": config.on_spike is OnSpike.rollback,
    }
    for key in (key for key, asked in rollbacks.items() if asked):
        raise ConfigError(f"{key}=rollback needs another order of the data, which a stream cannot give; use {key}=skip")


def loading_of(config: Config, data: Any, device: str, processes: Processes = Alone()) -> Loading:  # noqa: B008
    """Return how to load batches: by which workers and processes, with whose `collate`, for which device."""
    return Loading(
        config.batch_size,
        workers=config.data.get("workers", 0),
        timeout=config.data.get("timeout", TIMEOUT),
        collate=collate_of(data),
        pin=device == "cuda",
        everyone=processes,
        finish=in_channels_last if config.device.channels_last else as_it_is,
    )


def collate_of(data: Any) -> Callable[[list[Any]], Any] | None:
    """Return the data's own `collate`, if any; raise ConfigError if it is not callable."""
    collate = getattr(data, "collate", None)
    if collate is not None and not callable(collate):
        raise ConfigError(
            f"data: {type(data).__name__}.collate is a {type(collate).__name__}; make it a method "
            "`collate(samples)` that returns a batch, or rename it"
        )
    return collate


def order_of(data: Any) -> Own | None:
    """Return the data's own `order`, if any; raise ConfigError if it is neither callable nor a sampler."""
    order = getattr(data, "order", None)
    if order is not None and not callable(order) and not isinstance(order, Sampler):
        raise ConfigError(
            f"data: {type(data).__name__}.order is a {type(order).__name__}; make it a method "
            "`order(epoch, generator)` or a torch sampler, or rename it"
        )
    return order


def horizon_of(config: Config, train: Source, at: Position) -> Horizon:
    """Return the run's length in steps: of epochs, max_steps and max_samples, the first to be reached.

    It counts from the run's position, since earlier steps may have had another size.
    """
    limits = [] if config.max_steps is None else [config.max_steps]
    if (epochs := config.epochs) is not None and isinstance(train, TrainLoader):
        whole = epochs - at.epoch - 1
        limits.append(
            at.step + (train.order.steps(at.epoch, at.sample) + whole * train.steps_per_epoch if whole >= 0 else 0)
        )
    if (samples := config.max_samples) is not None and isinstance(train, TrainLoader) and not train.order.is_own:
        limits.append(at.step + _steps_until(samples, train, at))
    if not limits and config.max_time is None and not counted_limits(config, train):
        raise ConfigError("the run has no end: set epochs, max_steps or max_time")
    return Horizon(min(limits, default=None), train.steps_per_epoch)


def _steps_until(samples: int, train: TrainLoader, at: Position) -> int:
    """Return the steps from a position until so many samples are seen, in batches of one size."""
    of_an_epoch = min(train.size, train.steps_per_epoch * train.batch_size)  # less than all with drop_last
    whole, rest = divmod(samples, of_an_epoch)
    if whole <= at.epoch:
        return max(0, -(-(rest - at.sample) // train.batch_size)) if whole == at.epoch else 0
    first = train.order.steps(at.epoch, at.sample)
    return first + (whole - at.epoch - 1) * train.steps_per_epoch - (-rest // train.batch_size)


def counted_limits(config: Config, train: Source) -> dict[str, int]:
    """Return the lengths that only counting tells: of the samples of own batches and streams, and of tokens."""
    known = isinstance(train, TrainLoader) and not train.order.is_own
    lengths = {"samples": None if known else config.max_samples, "tokens": config.max_tokens}
    return {name: length for name, length in lengths.items() if length is not None}


def check_counts(limits: Mapping[str, int], learner: Any, counts: Mapping[str, int]) -> None:
    """Raise ConfigError for a length that nobody counts, or that was not counted from the run's start."""
    if "tokens" in limits and not isinstance(learner, Counting):
        raise ConfigError(
            f"max_tokens={limits['tokens']} needs a method `tokens(batch)` of the learner, which "
            f"{type(learner).__name__} lacks; add it, or use max_steps=..."
        )
    for name in limits.keys() - counts.keys():
        raise ConfigError(
            f"max_{name}={limits[name]} cannot be reached: the run has not counted its {name} from its start; "
            "use max_steps=..."
        )


def check_same_order(train: Source, processes: Processes) -> None:
    """Raise ConfigError unless all processes have the same samples in the same order."""
    if processes.size == 1 or not isinstance(train, TrainLoader):
        return
    digest = hashlib.sha256()
    for batch in train.order.batches(0):
        digest.update(batch.numpy().tobytes())
    found = processes.gather((train.size, digest.hexdigest()))
    processes.once(lambda: _require_equal(found))


def _require_equal(found: Sequence[tuple[int, str]]) -> None:
    for rank, one in enumerate(found):
        if one[0] != found[0][0]:
            raise ConfigError(f"rank {rank} has {one[0]} samples and rank 0 has {found[0][0]}; give all the same data")
        if one != found[0]:
            raise ConfigError(
                f"rank {rank} has another order of the data than rank 0; let it follow from (epoch, generator) alone, "
                "not from a set or the host"
            )
