"""Any map-style data set, with its randomness made a function of (seed, epoch, index)."""

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import Dataset, IterableDataset, TensorDataset, default_collate

from runner.data.whole import delivers_whole
from runner.errors import ConfigError

Key = tuple[int, torch.Tensor]
"""(epoch, indices: (batch,) int64)."""


class Keyed(Dataset[Any]):
    """Delivers whole batches by key, the same in every process and after every resume."""

    def __init__(self, dataset: Any, seed: int) -> None:
        """Wrap a data set.

        Raises:
            ConfigError: an iterable one, an empty one, or none at all.
        """
        self._dataset, self._seed = dataset, seed
        self.size = size_of(dataset)

    def __getitem__(self, key: Key | tuple[int, list[int]]) -> Any:
        """Return the collated batch of a key, which has come as plain numbers to a worker."""
        epoch, indices = key[0], torch.as_tensor(key[1])
        dataset = self._dataset
        if delivers_whole(dataset):
            return dataset.fetch(indices, seed=self._seed, epoch=epoch)
        if type(dataset) is TensorDataset:
            return tuple(tensor[indices] for tensor in dataset.tensors)
        numbers = indices.tolist()
        with _borrowed_generators():
            if hasattr(dataset, "__getitems__"):
                _seed_generators(self._seed, epoch, numbers[0])
                return default_collate(dataset.__getitems__(numbers))
            return default_collate([self._item(epoch, index) for index in numbers])

    def _item(self, epoch: int, index: int) -> Any:
        _seed_generators(self._seed, epoch, index)
        return self._dataset[index]


def size_of(dataset: Any) -> int:
    """Return the number of samples; ConfigError for an iterable data set, an empty one, or none at all."""
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__getitem__"):
        raise ConfigError(
            f"{type(dataset).__name__} can only be iterated, so its order could not be resumed exactly; "
            "give a map-style data set with __len__ and __getitem__"
        )
    try:
        size = len(dataset)
    except TypeError as error:
        raise ConfigError(f"{type(dataset).__name__} has no length; give it __len__") from error
    if size < 1:
        raise ConfigError(f"{type(dataset).__name__} is empty; give it at least one sample")
    return size


def _seed_generators(seed: int, epoch: int, index: int) -> None:
    mixed = hash((seed, epoch, index)) % 2**63  # of integers: the same in every process
    random.seed(mixed)
    torch.default_generator.manual_seed(mixed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(mixed % 2**32)


@contextmanager
def _borrowed_generators() -> Iterator[None]:
    """Put the global generators back afterwards: in the training process they belong to the models."""
    numpy = sys.modules.get("numpy")
    python, torch_state = random.getstate(), torch.default_generator.get_state()
    numpy_state = numpy.random.get_state() if numpy else None
    try:
        yield
    finally:
        random.setstate(python)
        torch.default_generator.set_state(torch_state)
        if numpy:
            numpy.random.set_state(numpy_state)
