"""Learners and a model with losses, gradients or buffers that are not finite."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from runner.learners import Classification


class NanGradient(Classification):
    """Has a finite loss and a gradient that is none: the root of zero."""

    def training(self, models: Mapping[str, nn.Module], name: str, batch: Any) -> dict[str, Tensor]:
        terms = super().training(models, name, batch)
        return {"loss": terms["loss"] + torch.sqrt(models[name](batch[0]) * 0).sum()}


class PoisonedOnce(Classification):
    """Has a loss that is NaN the first time in this process that step `at` comes."""

    fired = False
    factor = torch.nan

    def __init__(self, at: int = 4) -> None:
        super().__init__()
        self._at, self._now = at, -1

    def updates(self, step: int) -> Any:
        self._now = step
        return super().updates(step)

    def training(self, models: Mapping[str, nn.Module], name: str, batch: Any) -> dict[str, Tensor]:
        terms = dict(super().training(models, name, batch))
        if self._now == self._at and not PoisonedOnce.fired:
            PoisonedOnce.fired = True
            terms["loss"] = terms["loss"] * self.factor
        return terms


class SpikingOnce(PoisonedOnce):
    """Has a loss fifty times too high the first time in this process that step `at` comes."""

    factor = 50.0


class Poisoned(PoisonedOnce):
    """Has a loss that is NaN whenever step `at` comes."""

    def training(self, models: Mapping[str, nn.Module], name: str, batch: Any) -> dict[str, Tensor]:
        PoisonedOnce.fired = False
        return super().training(models, name, batch)


class Masked(nn.Linear):
    """Has a mask of minus infinities among its buffers."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__(in_features, num_classes)
        self.register_buffer("mask", torch.tensor([0.0, float("-inf")]))
