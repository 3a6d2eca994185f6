"""What a user may bring without knowing that it cannot be resumed, each with one real fault."""

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor, nn

from runner.learners import Classification
from tests.own import NoisyPoints, Points


class NanGradient(Classification):
    """Has a finite loss and a gradient that is none: the root of zero."""

    def training(self, models: Mapping[str, nn.Module], name: str, batch: Any) -> dict[str, Tensor]:
        terms = super().training(models, name, batch)
        return {"loss": terms["loss"] + torch.sqrt(models[name](batch[0]) * 0).sum()}


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


class ForgetfulSgd(torch.optim.SGD):
    """Slows down by a count that it does not store."""

    count = 0

    def step(self, closure: Any = None) -> Any:
        self.count += 1
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad /= self.count
        return super().step(closure)


class PoisonedOnce(Classification):
    """Has a loss that is NaN the first time in this process that step `at` comes."""

    fired = False

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
            terms["loss"] = terms["loss"] * torch.nan
        return terms


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


class _Unplugged(Points):
    """Takes the checkpoints' folder away at step 3, whose batch is of 4; brings it back and fails at the next one."""

    folder, away, left = Path("outputs/x/checkpoints"), Path("outputs/x/away"), 4

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if (self.folder / "step_0000000002.tar").exists():
            self.folder.rename(self.away)
        self.left -= self.away.exists()
        if self.left < 0:
            self.away.rename(self.folder)
            raise ValueError("the data has an end here")
        return super().__getitem__(index)


class Unplugged(NoisyPoints):
    """Lies on the disk that the checkpoints are on, which is gone for a while."""

    def __init__(self) -> None:
        super().__init__()
        self.train = _Unplugged(20)


class _Replaced(Points):
    """Moves the run's directory away once it has a checkpoint, as its user may, and begins another run there."""

    run = Path("outputs/x")

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if (self.run / "checkpoints/step_0000000002.tar").exists():
            self.run.rename("outputs/y")
            self.run.mkdir()
            for name in (".lock", "status.json"):
                (self.run / name).write_text("another's")
        return super().__getitem__(index)


class Replaced(NoisyPoints):
    """Is fetched while the run's directory goes away."""

    def __init__(self) -> None:
        super().__init__()
        self.train = _Replaced(20)


class _Ending(Points):
    """Fails once there is a checkpoint of step 2."""

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if Path("outputs/x/checkpoints/step_0000000002.tar").exists():
            raise ValueError("the data has an end here")
        return super().__getitem__(index)


class Ending(NoisyPoints):
    """Has no sample for the third step."""

    def __init__(self) -> None:
        super().__init__()
        self.train = _Ending(20)


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
