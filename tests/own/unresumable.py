"""What a user may bring without knowing that it cannot be resumed, each with one real fault."""

import random
from collections.abc import Mapping
from typing import Any

import numpy
import torch
from torch import Tensor, nn

from runner.learners import Classification
from tests.own.points import NoisyPoints, Points


class _Drawing(Points):
    """Adds noise from a generator that it made when it was made."""

    def __init__(self, size: int, generator: Any) -> None:
        super().__init__(size)
        self.noise = generator

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        inputs, target = super().__getitem__(index)
        return inputs + float(self.noise.random()), target


class OwnGenerator(NoisyPoints):
    """Draws from a seeded generator of its own: repeatable, and not resumable."""

    def __init__(self) -> None:
        super().__init__()
        self.train = _Drawing(20, numpy.random.default_rng(0))


class UnseededGenerator(NoisyPoints):
    """Draws from a generator that nobody seeds: not even repeatable."""

    def __init__(self) -> None:
        super().__init__()
        self.train = _Drawing(20, random.Random())


class Counting(Classification):
    """Counts its calls for itself, and lets the loss depend on the count."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def training(self, models: Mapping[str, nn.Module], name: str, batch: Any) -> dict[str, Tensor]:
        self.count += 1
        return {"loss": super().training(models, name, batch)["loss"] / self.count}


class Remembering(nn.Module):
    """Has a buffer that is no part of its state_dict, and moves it in each forward pass."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.layer = nn.Linear(in_features, num_classes)
        self.register_buffer("mean", torch.zeros(in_features), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training:
            self.mean += 0.1 * inputs.mean(0)
        outputs: Tensor = self.layer(inputs - self.mean)
        return outputs


class UnseededWeights(nn.Linear):
    """Begins with weights that are others each time."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__(in_features, num_classes)
        with torch.no_grad():
            self.weight += random.Random().random()


class Forgetful(torch.optim.SGD):
    """Slows down by a count that it does not store."""

    count = 0

    def step(self, closure: Any = None) -> Any:
        self.count += 1
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad /= self.count
        return super().step(closure)
