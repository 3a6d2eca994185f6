"""Any map-style data set, with its randomness made a function of (seed, epoch, index)."""

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import Dataset, IterableDataset, TensorDataset, default_collate

from runner.blame import raised
from runner.data.loaders.batches import form_of
from runner.data.loaders.whole import delivers_whole
from runner.errors import ConfigError, RunnerError

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
                return self._collated(numbers, dataset.__getitems__(numbers))
            return self._collated(numbers, [self._item(epoch, index) for index in numbers])

    def tried(self, key: tuple[int, list[int]]) -> Any:
        """Return a batch as `self[key]` does.

        Raises:
            ConfigError: it cannot be made; the sample is named.
        """
        try:
            return self[key]
        except RunnerError:
            raise
        except Exception as error:
            raise ConfigError(f"{self._culprit(key, error)} raised {raised(error)}") from error

    def _culprit(self, key: tuple[int, list[int]], error: Exception) -> str:
        """Return which sample raises this error, if one alone does."""
        name = type(self._dataset).__name__
        for index in key[1]:
            try:
                self[key[0], [index]]
            except type(error):
                return f"sample {index} of {name}"
            except Exception:  # alone it has another trouble
                continue
        return f"a batch of {name}"

    def _collated(self, numbers: list[int], samples: Any) -> Any:
        try:
            return default_collate(samples)
        except Exception as error:
            name, forms = type(self._dataset).__name__, [form_of(sample) for sample in samples]
            for index, form in zip(numbers, forms, strict=False):
                if form == "None":
                    reason = f"sample {index} of {name} is None; return a sample for each index below its length"
                elif form != forms[0]:
                    reason = (
                        f"sample {index} of {name} is {form} and sample {numbers[0]} is {forms[0]}, so they make no "
                        "batch; give all samples one form, padded or cut to one length"
                    )
                else:
                    continue
                raise ConfigError(reason) from error
            raise ConfigError(
                f"the samples of {name} make no batch ({raised(error)}); return tensors, numbers, strings, and "
                "tuples or dictionaries of them"
            ) from error

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
