"""A fixed random selection from a data set, in the original order."""

from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from runner.data.loaders.keyed import size_of
from runner.data.loaders.seeding import borrowed_generators, seed_generators
from runner.data.loaders.whole import WholeBatches, delivers_whole
from runner.data.streams.worker import is_stream
from runner.errors import ConfigError

_VAL = 0.1


def without_val(count: int, share: float = _VAL) -> tuple[Tensor, Tensor]:
    """Split `count` samples into training indices and a share for validation, the same split for each count.

    Raises:
        ConfigError: fewer than two samples.
    """
    if count < 2:
        raise ConfigError(f"the data has {count} training samples and no val; give at least two, or a separate val")
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    size = min(max(1, round(share * count)), count - 1)
    return order[size:].sort().values, order[:size].sort().values


def selection(dataset: Any, count: int) -> Any:
    """Return a fixed selection of `count` samples, or the data set if it has no more; of a stream, the first samples.

    Raises:
        ConfigError: the data set is empty, or not a data set.
    """
    if is_stream(dataset):
        return _first(dataset, count)
    size = size_of(dataset)
    if count >= size:
        return dataset
    indices = torch.randperm(size, generator=torch.Generator().manual_seed(0))[:count].sort().values
    if type(dataset) is TensorDataset:
        return TensorDataset(*(tensor[indices] for tensor in dataset.tensors))
    if delivers_whole(dataset):
        return _FetchedSelection(dataset, indices)
    return _BatchedSelection(dataset, indices) if hasattr(dataset, "__getitems__") else _Selection(dataset, indices)


def _first(stream: Any, count: int) -> list[Any]:
    with borrowed_generators():
        seed_generators(0)
        return list(islice(iter(stream), count))


class _Selection(Dataset[Any]):
    """Delivers the selected samples by index."""

    def __init__(self, dataset: Any, indices: Tensor) -> None:
        self._dataset, self._indices = dataset, indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Any:
        return self._dataset[int(self._indices[index])]


class _BatchedSelection(_Selection):
    def __getitems__(self, indices: list[int]) -> Any:
        return self._dataset.__getitems__(self._indices[indices].tolist())


class _FetchedSelection(_Selection, WholeBatches):
    def fetch(self, indices: Tensor, *, seed: int, epoch: int) -> Any:
        return self._dataset.fetch(self._indices[indices], seed=seed, epoch=epoch)
