"""The share of every batch that one of several processes takes, and what these tell each other about a stream."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


class Share(NamedTuple):
    """One process's share of every batch: the order of the data does not depend on the number of processes."""

    rank: int = 0
    size: int = 1

    def of(self, indices: Tensor) -> Tensor:
        """Return this process's indices, (share,) int64: a run of them, as long as any other's or one longer."""
        return indices if self.size == 1 else torch.tensor_split(indices, self.size)[self.rank]

    def of_count(self, samples: int) -> int:
        """Return how many of so many samples are this process's."""
        return samples // self.size + (self.rank < samples % self.size)


class Everyone(Protocol):
    """All processes of a run, as one of them sees them; each makes the same calls in the same order."""

    rank: int
    size: int

    def tally(self, numbers: Sequence[int]) -> Sequence[Sequence[int]]:
        """Return, in every process, the numbers of all by rank."""

    def offered(self, value: T | None) -> T | None:
        """Return, in every process, the first value by rank that is not None."""


class OneProcess:
    """The only process of a run."""

    rank, size = 0, 1

    def tally(self, numbers: Sequence[int]) -> Sequence[Sequence[int]]:
        """Return the numbers."""
        return [numbers]

    def offered(self, value: T | None) -> T | None:
        """Return the value."""
        return value
