"""A model and a learner whose metrics depend on the step alone."""

from typing import Any

import torch
from torch import Tensor, nn

from tests.own.nonfinite import PoisonedOnce


class Stepping(nn.Linear):
    """Counts the training batches that it has seen."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__(in_features, num_classes)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training:
            self.seen += 1
        return super().forward(inputs)


class Hills(PoisonedOnce):
    """Has metrics that depend on the step alone: a loss that is best at 2 and better at 6, an accuracy best at 4."""

    losses = (9.0, 5.0, 3.0, 4.0, 6.0, 5.0, 2.0, 4.0)
    accuracies = (0.0, 0.1, 0.2, 0.2, 0.9, 0.3, 0.3, 0.4)

    def evaluation(self, models: Any, batch: Any) -> dict[str, Tensor]:
        at = min(int(models["model"].seen), 7)
        return {"loss": torch.tensor(self.losses[at]), "accuracy": torch.tensor(self.accuracies[at])}
