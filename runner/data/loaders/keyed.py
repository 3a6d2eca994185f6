"""Any map-style data set, its randomness made a function of (seed, epoch, index)."""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch.utils.data import Dataset, IterableDataset, TensorDataset, default_collate

from runner.blame import raised
from runner.data.loaders.batches import Batch, form_of
from runner.data.loaders.seeding import borrowed_generators, seed_generators
from runner.data.loaders.whole import delivers_whole
from runner.errors import ConfigError, RunnerError

Collate = Callable[[list[Any]], Any]


class Key(NamedTuple):
    """The samples of a batch."""

    epoch: int
    indices: torch.Tensor | Sequence[int]
    """(batch,) int64; plain numbers when sent to a worker."""
    ends_epoch: bool = False


class Keyed(Dataset[Batch]):
    """Delivers batches by key, the same in every process and after every resume."""

    def __init__(self, dataset: Any, seed: int, *, collate: Collate | None = None, micro_batches: int = 1) -> None:
        """Wrap a data set; `collate` makes each batch, in up to `micro_batches` parts.

        Raises:
            ConfigError: the data set is iterable or empty, or not a data set.
        """
        self._dataset, self._seed = dataset, seed
        self._collate, self._micro_batches = collate, micro_batches
        self.size = size_of(dataset)

    def __getitem__(self, key: Key) -> Batch:
        """Return the collated batch of a key."""
        indices = torch.as_tensor(key.indices)
        pieces = torch.split(indices, -(-len(indices) // self._micro_batches))
        parts = self._parts(key.epoch, indices, pieces)
        return Batch(tuple(parts), tuple(map(len, pieces)), key.ends_epoch)

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
        if self._collate is not None:
            return _collated_by(self._collate, samples)
        try:
            return default_collate(samples)
        except Exception as error:
            name, forms = type(self._dataset).__name__, [form_of(sample) for sample in samples]
            for index, form in zip(numbers, forms, strict=False):
                if form == "None":
                    reason = f"sample {index} of {name} is None; return a sample for every index"
                elif form != forms[0]:
                    reason = (
                        f"sample {index} of {name} is {form} and sample {numbers[0]} is {forms[0]}, so they make no "
                        "batch; give all samples one form, padded or cut to one length, or let a method "
                        "`collate(samples)` of the data make a batch of them"
                    )
                else:
                    continue
                raise ConfigError(reason) from error
            raise ConfigError(
                f"the samples of {name} make no batch ({raised(error)}); return tensors, numbers, strings, and "
                "tuples or dictionaries of them, or give the data a method `collate(samples)`"
            ) from error

    def _item(self, epoch: int, index: int) -> Any:
        seed_generators(self._seed, epoch, index)
        return self._dataset[index]


def _collated_by(collate: Collate, samples: list[Any]) -> Any:
    """Return what people's own `collate` makes of samples; ConfigError, naming it, where it makes nothing."""
    name, forms = getattr(collate, "__qualname__", type(collate).__name__), form_of(list(samples))
    try:
        batch = collate(samples)
    except Exception as error:
        raise ConfigError(f"{name} raised {raised(error)} on the samples {forms}") from error
    if batch is None:
        raise ConfigError(f"{name} returned None for the samples {forms}; return a batch")
    return batch


def size_of(dataset: Any) -> int:
    """Return the number of samples; ConfigError if the data set is iterable or empty, or not a data set."""
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__getitem__"):
        raise ConfigError(
            f"{type(dataset).__name__} is iterable, so its order cannot be resumed exactly; "
            "use a map-style data set with __len__ and __getitem__"
        )
    try:
        size = len(dataset)
    except TypeError as error:
        raise ConfigError(f"{type(dataset).__name__} has no length; give it __len__") from error
    if size < 1:
        raise ConfigError(f"{type(dataset).__name__} is empty; give it at least one sample")
    return size
