"""The share of every batch that one of several processes takes."""

from typing import NamedTuple

import torch
from torch import Tensor


class Share(NamedTuple):
    """One process's share of every batch: the order of the data does not depend on the number of processes."""

    rank: int = 0
    size: int = 1

    def of(self, indices: Tensor) -> Tensor:
        """Return this process's indices, (share,) int64: a run of them, as long as any other's or one longer."""
        return indices if self.size == 1 else torch.tensor_split(indices, self.size)[self.rank]
