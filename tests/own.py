"""What a user brings: data with its own randomness, and a learner that can be interrupted at a given step."""

import os
import random
import signal
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from runner.learners import Classification


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


class StoppableClassification(Classification):
    """Sends this process the signal STOP_SIGNAL in the midst of step STOP_AT, both environment variables."""

    def updates(self, step: int) -> Any:
        if os.environ.get("STOP_AT") == str(step):
            os.kill(os.getpid(), getattr(signal, os.environ.get("STOP_SIGNAL", "SIGTERM")))
        return super().updates(step)


class Outputs(Classification):
    """Says for `task=predict` what the model returned, as a regression would."""

    def prediction(self, models: Any, batch: Any) -> Any:
        return {"output": models["model"](batch[0])}


class Mapped(NoisyPoints):
    """Takes whatever nested values its config has."""

    def __init__(self, more: Any = None) -> None:
        super().__init__()
        self.more = more
