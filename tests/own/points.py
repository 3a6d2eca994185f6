"""Data with randomness of their own."""

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset


class Points(Dataset[tuple[Tensor, Tensor]]):
    """Points of which the label is the sign, each fetched with noise from all three global generators."""

    def __init__(self, size: int) -> None:
        self._points = torch.randn(size, 4, generator=torch.Generator().manual_seed(1))

    def __len__(self) -> int:
        return len(self._points)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        noise = torch.randn(4) + random.random() + float(np.random.rand())
        return self._points[index] + 0.1 * noise, (self._points[index].sum() > 0).long()


class NoisyPoints:
    """20 points to train on, so that the last batch of 8 is a smaller one."""

    in_features = 4
    num_classes = 2

    def __init__(self, size: int = 20) -> None:
        self.train = Points(size)
        self.val = Subset(Points(size), range(6))


class Mapped(NoisyPoints):
    """Takes whatever nested values its config has."""

    def __init__(self, more: Any = None) -> None:
        super().__init__()
        self.more = more


class Cropped(NoisyPoints):
    """Has an argument called as one of the shipped data's, which means something else."""

    def __init__(self, augment: bool | str = True) -> None:
        super().__init__()
        assert augment is False, f"augment={augment!r}"
