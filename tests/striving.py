"""A model that a search can judge in moments: its validation loss is what the config says, from the first epoch on."""

import time

import torch
from torch import Tensor

from tests.sweeping import Fragile


class Graded(Fragile):
    """Is the better the nearer `x` is to 0.3, and takes `pause` seconds a step; fails as `case` says."""

    def __init__(
        self, in_features: int, num_classes: int, x: float = 0.0, pause: float = 0.0, case: str = "good"
    ) -> None:
        super().__init__(in_features, num_classes, case=case)
        self._x, self._pause = x, pause

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = super().forward(inputs)
        if self.training:
            time.sleep(self._pause)
            return outputs
        return 0 * outputs + torch.tensor([0.0, 10.0]) * (self._x - 0.3)
