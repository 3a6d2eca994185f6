"""Any map-style data set, its randomness made a function of (seed, epoch, index)."""

from collections.abc import Sequence
from copy import copy
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch.utils.data import Dataset, TensorDataset

from runner.blame import raised
from runner.data.loaders.batches import Batch
from runner.data.loaders.collating import Collate, collated
from runner.data.loaders.seeding import borrowed_generators, seed_generators
from runner.data.loaders.shares import Share
from runner.data.loaders.whole import delivers_whole
from runner.errors import ConfigError, RunnerError


class Key(NamedTuple):
    """The samples of a batch."""

    epoch: int
    indices: torch.Tensor | Sequence[int]
    """(batch,) int64; plain numbers when sent to a worker."""
    ends_epoch: bool = False


class Keyed(Dataset[Batch]):
    """Delivers batches by key, the same in every process and after every resume."""

    def __init__(
        self,
        dataset: Any,
        seed: int,
        *,
        collate: Collate | None = None,
        micro_batches: int = 1,
        share: Share = Share(),  # noqa: B008
    ) -> None:
        """Wrap a data set; `collate` makes this process's `share` of each batch, in up to `micro_batches` parts.

        Raises:
            ConfigError: the data set is iterable or empty, or not a data set.
        """
        self._dataset, self._seed = dataset, seed
        self._collate, self._micro_batches, self._share = collate, micro_batches, share
        self.size = size_of(dataset)

    def divided(self, micro_batches: int) -> "Keyed":
        """Return the same batches in `micro_batches` parts, if they have fewer."""
        other = copy(self)
        other._micro_batches = max(self._micro_batches, micro_batches)
        return other

    def __getitem__(self, key: Key) -> Batch:
        """Return this process's share of the collated batch of a key; where it has none, a stand-in of one sample."""
        indices = torch.as_tensor(key.indices)
        whole = torch.split(indices, -(-len(indices) // self._micro_batches))
        own = [self._share.of(piece) for piece in whole]
        pieces = [piece if len(piece) else instead[:1] for piece, instead in zip(own, whole, strict=True)]
        counts = tuple(map(len, own))
        parts = self._parts(key.epoch, indices if self._share.size == 1 else torch.cat(pieces), pieces)
        return Batch(tuple(parts), counts, key.ends_epoch, elsewhere=len(indices) - sum(counts))

    def _parts(self, epoch: int, indices: torch.Tensor, pieces: Sequence[torch.Tensor]) -> list[Any]:
        dataset = self._dataset
        if self._collate is None and delivers_whole(dataset):
            return [dataset.fetch(piece, seed=self._seed, epoch=epoch) for piece in pieces]
        if self._collate is None and type(dataset) is TensorDataset:
            return [tuple(tensor[piece] for tensor in dataset.tensors) for piece in pieces]
        with borrowed_generators():
            samples = self._samples(epoch, indices.tolist())
            if len(pieces) == 1:
                return [self._collated(indices.tolist(), samples)]
            rest = iter(samples)
            return [self._collated(piece.tolist(), list(islice(rest, len(piece)))) for piece in pieces]

    def _samples(self, epoch: int, numbers: list[int]) -> Any:
        if hasattr(self._dataset, "__getitems__"):
            seed_generators(self._seed, epoch, numbers[0])
            return self._dataset.__getitems__(numbers)
        return [self._item(epoch, index) for index in numbers]

    def tried(self, key: Key) -> Batch:
        """Return `self[key]`.

        Raises:
            ConfigError: the batch cannot be made; names the sample.
        """
        try:
            return self[key]
        except RunnerError:
            raise
        except Exception as error:
            raise ConfigError(f"{self._culprit(key, error)} raised {raised(error)}") from error

    def _culprit(self, key: Key, error: Exception) -> str:
        """Return the sample that raises this error alone, else the batch."""
        name = type(self._dataset).__name__
        for index in map(int, key.indices):
            try:
                self[Key(key.epoch, [index])]
            except type(error):
                return f"sample {index} of {name}"
            except Exception:  # this sample raises something else
                continue
        return f"a batch of {name}"

    def _collated(self, numbers: list[int], samples: Any) -> Any:
        return collated(samples, numbers, own=self._collate, name=type(self._dataset).__name__)

    def _item(self, epoch: int, index: int) -> Any:
        seed_generators(self._seed, epoch, index)
        return self._dataset[index]


def size_of(dataset: Any) -> int:
    """Return the number of samples; ConfigError if the data set is empty, or not a map-style data set."""
    name = type(dataset).__name__
    if not hasattr(dataset, "__getitem__"):
        raise ConfigError(
            f"{name} is no data set; give it __len__ and __getitem__, or make it an IterableDataset with state_dict "
            "and load_state_dict"
        )
    try:
        size = len(dataset)
    except TypeError as error:
        raise ConfigError(f"{name} has no length; give it __len__") from error
    if size < 1:
        raise ConfigError(f"{name} is empty; give it at least one sample")
    return size
