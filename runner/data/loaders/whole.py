"""The runner's own data sets, which deliver a whole batch by one indexing."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset


class WholeBatches(Dataset[Any], ABC):
    """Marks a data set whose `fetch` the loader calls; in other classes, a method `fetch` means something else."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of samples."""

    @abstractmethod
    def fetch(self, indices: Tensor, *, seed: int, epoch: int) -> Any:
        """Return the samples at `indices` as one batch, augmented as a pure function of (seed, epoch, index)."""


def delivers_whole(dataset: Any) -> bool:
    """Return whether a data set delivers batches by `fetch`, not by a subclass's own `__getitem__`."""
    if isinstance(dataset, WholeBatches):
        for cls in type(dataset).__mro__:
            if "fetch" in vars(cls) or "__getitem__" in vars(cls):
                return "fetch" in vars(cls)
    return False
