"""Exact loading: order from (seed, epoch), position in consumed samples, any number of workers."""

import pickle
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from runner.blame import raised
from runner.data.loaders.batches import batch_length, micro_batches, move
from runner.data.loaders.keyed import Key, Keyed
from runner.data.loaders.workers import Watched, ignore_signals
from runner.errors import ConfigError, RunnerError

__all__ = ["DataPosition", "EvaluationLoader", "TrainLoader", "batch_length", "micro_batches", "move", "tried_batches"]

TIMEOUT = 300.0
"""Seconds in which workers deliver a batch, for data whose options say nothing of it."""


@dataclass
class DataPosition:
    """How much of the current epoch's data was consumed; Stateful."""

    size: int
    batch_size: int
    sample: int = 0

    def advance(self) -> bool:
        """Count one consumed batch; True, and back to the start, when the epoch's data is used up."""
        self.sample += self.batch_size
        if self.sample >= self.size:
            self.sample = 0
        return self.sample == 0

    def state_dict(self) -> dict[str, int]:
        """Return the position and what it refers to."""
        return {"sample": self.sample, "size": self.size, "batch_size": self.batch_size}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take the position back; ValueError if it is one in other data."""
        sample, size = state_dict["sample"], state_dict["size"]
        if size != self.size:
            raise ValueError(
                f"in the midst of an epoch, and the data set had {size} samples and has {self.size} now; bring those "
                "back, or add resume_allow=[data] to go on all the same, no longer exactly"
            )
        if type(sample) is not int or not 0 <= sample < size:
            raise ValueError(f"sample {sample!r} is no position among {size}")
        self.sample = sample


class _Order:
    """The batches' keys, endlessly: each epoch a permutation of (*seed, epoch), from any sample on."""

    def __init__(self, size: int, batch_size: int, seed: tuple[int, ...], epoch: int, sample: int) -> None:
        self._size, self._batch_size, self._seed = size, batch_size, seed
        self._epoch, self._sample = epoch, sample

    def __iter__(self) -> Iterator[Key]:
        start = self._sample
        for epoch in count(self._epoch):
            for indices in torch.split(_permuted(self._size, self._seed, epoch)[start:], self._batch_size):
                yield epoch, indices
            start = 0


def _permuted(size: int, seed: tuple[int, ...], epoch: int) -> torch.Tensor:
    """Return the order of an epoch's samples."""
    generator = torch.Generator().manual_seed(hash((*seed, epoch)) % 2**63)
    return torch.randperm(size, generator=generator)


class TrainLoader:
    """Delivers training batches for ever; a smaller last batch ends each epoch."""

    def __init__(self, dataset: Any, *, batch_size: int, seed: int, workers: int, timeout: float = TIMEOUT) -> None:
        self.keyed = Keyed(dataset, seed)
        self._seed, self.timeout = seed, timeout
        self.size, self.batch_size = self.keyed.size, batch_size
        self.steps_per_epoch = -(-self.size // batch_size)
        self.workers = min(workers, self.steps_per_epoch)

    def batches(self, *, epoch: int, sample: int, order: int = 0) -> Iterator[Any]:
        """Return an endless iterator from a sample of an epoch on; the global generators are not touched.

        Each `order` is another one of the same samples.
        """
        seed = (self._seed, order) if order else (self._seed,)
        keys = _Order(self.size, self.batch_size, seed, epoch, sample)
        return _raised(iter(_loader(self.keyed, keys, self.workers, self.timeout)))

    def telling(self, *, epoch: int, sample: int, order: int = 0) -> tuple[list[Key], int]:
        """Return the keys of the first batch and, if it is a smaller one, of the epoch's last, and of the last sample.

        The number is how many steps the epoch still has.
        """
        seed = (self._seed, order) if order else (self._seed,)
        indices = _permuted(self.size, seed, epoch)[sample:]
        steps, rest = -(-len(indices) // self.batch_size), len(indices) % self.batch_size
        last = [(epoch, indices[-rest:])] if rest and steps > 1 else []
        return [(epoch, indices[: self.batch_size]), (epoch, torch.tensor([self.size - 1])), *last], steps


class EvaluationLoader:
    """Delivers each sample once, in order, as often as it is iterated."""

    def __init__(self, dataset: Any, *, batch_size: int, workers: int, timeout: float = TIMEOUT) -> None:
        self.keyed = Keyed(dataset, 0)
        self.size = self.keyed.size
        self._keys = [(0, indices) for indices in torch.split(torch.arange(self.size), batch_size)]
        self._loader = _loader(self.keyed, self._keys, min(workers, len(self._keys)), timeout, persistent=workers > 0)

    def telling(self) -> list[Key]:
        """Return the keys of the first batch and of the last."""
        return self._keys[:1] + self._keys[1:][-1:]

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self._keys)

    def __iter__(self) -> Iterator[Any]:
        """Return an iterator over all batches."""
        return _raised(iter(self._loader))


def tried_batches(train: TrainLoader, val: EvaluationLoader, training: Sequence[Key]) -> tuple[list[Any], list[Any]]:
    """Return the training batches of some keys, and the first and last of validation, fetched once as the run would.

    Raises:
        ConfigError: a batch cannot be made, or sent by a worker; the sample is named.
    """
    keys = [*((("train", epoch), indices) for epoch, indices in training)]
    keys += [(("val", epoch), indices) for epoch, indices in val.telling()]
    sets = _Tried({"train": train.keyed, "val": val.keyed})
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Got pickle error")  # of which the error below says more
            found = list(_loader(sets, keys, min(1, train.workers), train.timeout))  # to its end, and its worker's
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"the data cannot be sent to a worker ({raised(error)}): leave open files, lambdas and local classes out "
            "of what a data set holds, or add data.workers=0"
        ) from error
    batches = list(_raised(iter(found)))
    return batches[: len(training)], batches[len(training) :]


class _Tried(Dataset[Any]):
    """Delivers the tried batch of several sets, each under its name."""

    def __init__(self, sets: Mapping[str, Keyed]) -> None:
        self._sets = sets

    def __getitem__(self, key: tuple[tuple[str, int], Any]) -> Any:
        (name, epoch), indices = key
        return self._sets[name].tried((epoch, torch.as_tensor(indices).tolist()))


def _loader(keyed: Dataset[Any], keys: Any, workers: int, timeout: float, *, persistent: bool = False) -> Iterable[Any]:
    """Return a standard loader of whole batches; its generator is its own, since it would draw from the global one."""
    loader: DataLoader[Any] = DataLoader(
        _Carrying(keyed),
        batch_size=None,
        sampler=_Sent(keys) if workers else keys,
        num_workers=workers,
        persistent_workers=persistent,
        timeout=timeout if workers else 0,
        worker_init_fn=ignore_signals,
        generator=torch.Generator(),
        collate_fn=_as_it_is,
    )
    return Watched(loader) if workers else loader


class _Sent:
    """Keys for workers: each as plain numbers, since every tensor that is sent costs a connection of its own."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = keys

    def __iter__(self) -> Iterator[tuple[int, list[int]]]:
        return ((epoch, indices.tolist()) for epoch, indices in self._keys)


class _Carrying(Dataset[Any]):
    """Delivers an error of ours in the place of a batch: from a worker it would come as the text of a traceback."""

    def __init__(self, keyed: Dataset[Any]) -> None:
        self._keyed = keyed

    def __getitem__(self, key: Any) -> Any:
        try:
            return self._keyed[key]
        except RunnerError as error:
            return error


def _raised(batches: Iterator[Any]) -> Iterator[Any]:
    for batch in batches:
        if isinstance(batch, RunnerError):
            raise batch
        yield batch


def _as_it_is(batch: Any) -> Any:
    return batch
