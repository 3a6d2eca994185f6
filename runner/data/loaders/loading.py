"""Exact loading: order from (seed, epoch), position in samples, any number of workers."""

import pickle
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, replace
from itertools import count, islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from runner.blame import raised
from runner.data.loaders.batches import Batch, move
from runner.data.loaders.delivery import Delivery, Loading
from runner.data.loaders.keyed import Key, Keyed
from runner.data.loaders.order import Order, Own
from runner.errors import ConfigError

__all__ = ["Batch", "DataPosition", "EvaluationLoader", "Loading", "TrainLoader", "move", "tried_batches"]


@dataclass
class DataPosition:
    """The number of samples consumed in the current epoch; Stateful."""

    size: int
    batch_size: int
    sample: int = 0
    own_order: bool = False
    """Whether the data define the order, and so the number of samples per epoch."""

    def advance(self, batch: Batch) -> bool:
        """Count one consumed batch; return True, and go back to the start, at the end of the epoch."""
        self.sample = 0 if batch.ends_epoch else self.sample + batch.size
        return batch.ends_epoch

    def state_dict(self) -> dict[str, int]:
        """Return the position, with the sizes that it refers to."""
        return {"sample": self.sample, "size": self.size, "batch_size": self.batch_size}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore the position; ValueError if it does not fit the data."""
        if "shards" in state_dict:
            raise ValueError("the checkpoint was written with a stream, and the data are now a map-style data set")
        sample, size = state_dict["sample"], state_dict["size"]
        if size != self.size:
            raise ValueError(
                f"in the middle of an epoch, and the data set had {size} samples and now has {self.size}; restore the "
                "former data, or add resume_allow=[data] to continue, no longer exactly"
            )
        if type(sample) is not int or sample < 0 or (sample >= size and not self.own_order):
            raise ValueError(f"sample {sample!r} is not a position in {size} samples")
        self.sample = sample


class TrainLoader:
    """Delivers training batches forever, epoch after epoch."""

    def __init__(
        self,
        dataset: Any,
        loading: Loading,
        *,
        seed: int,
        accumulate: int = 1,
        order: Own | None = None,
        even: bool = False,
        drop_last: bool = False,
    ) -> None:
        """Load a data set in an order that follows from (seed, epoch), each batch in `accumulate` micro-batches.

        Raises:
            ConfigError: the data set or its order is unusable.
        """
        self.keyed = Keyed(dataset, seed, collate=loading.collate, micro_batches=accumulate, share=loading.share)
        self.size, self.batch_size = self.keyed.size, loading.batch_size
        self.order = Order(self.size, loading.batch_size, seed, order, even=even, drop_last=drop_last)
        self.steps_per_epoch = self.order.steps_per_epoch
        self.loading = replace(loading, workers=min(loading.workers, self.steps_per_epoch))

    def position(self) -> DataPosition:
        """Return the position before the first batch."""
        return DataPosition(self.size, self.batch_size, own_order=self.order.is_own)

    def divided(self, accumulate: int) -> "TrainLoader":
        """Return a loader of the same batches, each in `accumulate` micro-batches, if it has fewer."""
        other = copy(self)
        other.keyed = self.keyed.divided(accumulate)
        return other

    def batches(self, position: DataPosition, *, epoch: int, turn: int = 0) -> Iterator[Batch]:
        """Return an endless iterator from a position in an epoch on; leaves the global generators unchanged.

        Each `turn` has the same samples in another order.
        """
        keys = self._keys(epoch, position.sample, turn)
        return iter(Delivery(self.keyed, map(_sent, keys) if self.loading.workers else keys, self.loading))

    def _keys(self, epoch: int, sample: int, turn: int) -> Iterator[Key]:
        for number in count(epoch):
            batches = self.order.batches(number, turn=turn, sample=sample if number == epoch else 0)
            yield from (Key(number, batch, False) for batch in batches[:-1])
            yield from (Key(number, batch, True) for batch in batches[-1:])

    def telling(self, *, epoch: int, sample: int, turn: int = 0) -> tuple[list[Key], int]:
        """Return the keys to try: the first batch, the last sample, and a batch of another size if there is one.

        The number is the steps left in the epoch.
        """
        batches = self.order.batches(epoch, turn=turn, sample=sample)
        sizes = {len(batch): batch for batch in reversed(batches)}
        others = [Key(epoch, batch) for size, batch in sizes.items() if size != len(batches[0])]
        return [Key(epoch, batches[0]), Key(epoch, [self.size - 1]), *others[:1]], len(batches)


class EvaluationLoader:
    """Delivers each sample once and in order, per iteration."""

    def __init__(self, dataset: Any, loading: Loading) -> None:
        self.keyed = Keyed(dataset, 0, collate=loading.collate, share=loading.share)
        self.size = self.keyed.size
        batches = _for_all(torch.split(torch.arange(self.size), loading.batch_size), loading.share.size)
        self._keys = [Key(0, indices.tolist()) for indices in batches]
        known = replace(loading, workers=min(loading.workers, len(self._keys)))
        self._delivery = Delivery(self.keyed, self._keys, known, persistent=known.workers > 0)

    def telling(self) -> list[Key]:
        """Return the keys of the first and the last batch."""
        return self._keys[:1] + self._keys[1:][-1:]

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self._keys)

    def __iter__(self) -> Iterator[Batch]:
        """Return an iterator over all batches."""
        return iter(self._delivery)


def _for_all(batches: Sequence[Tensor], processes: int) -> Sequence[Tensor]:
    """Return batches that have a sample for each process: a smaller last one joins its neighbour.

    Raises:
        ConfigError: there are fewer samples.
    """
    if len(batches[-1]) >= processes:
        return batches
    if len(batches) == 1 or len(batches[0]) < processes:
        raise ConfigError(
            f"a batch to evaluate has {len(batches[0])} samples for {processes} processes; start fewer, or use a "
            "larger batch_size"
        )
    return [*batches[:-2], torch.cat([*batches[-2:]])]


def tried_batches(sets: Mapping[str, tuple[Keyed, Sequence[Key]]], loading: Loading) -> dict[str, list[Batch]]:
    """Fetch the batches of each set's keys, as the run would: by a worker, if there are workers.

    Raises:
        ConfigError: a batch cannot be made, or sent by a worker; names the sample.
    """
    keys = [(name, _sent(key)) for name, (_, keys) in sets.items() for key in keys]
    known = replace(loading, workers=min(1, loading.workers))
    with sendable():
        batches = iter(Delivery(_Tried({name: one for name, (one, _) in sets.items()}), keys, known).whole())
    return {name: list(islice(batches, len(keys))) for name, (_, keys) in sets.items()}


@contextmanager
def sendable() -> Iterator[None]:
    """Raise ConfigError if the data cannot be sent to a worker."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Got pickle error")  # the error below says more
            yield
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"the data cannot be sent to a worker ({raised(error)}): keep open files, lambdas and local classes out "
            "of the data set's attributes, or add data.workers=0"
        ) from error


class _Tried(Dataset[Any]):
    """Delivers trial batches of several data sets, by name."""

    def __init__(self, sets: Mapping[str, Keyed]) -> None:
        self._sets = sets

    def __getitem__(self, key: tuple[str, Key]) -> Batch:
        return self._sets[key[0]].tried(key[1])


def _sent(key: Key) -> Key:
    """Return a key as plain numbers: each tensor sent to a worker costs a connection."""
    return Key(key.epoch, torch.as_tensor(key.indices).tolist(), key.ends_epoch)
