"""An encoder and a head, updated together from one forward pass, and the same as one model."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.own.learners import StoppableClassification
from tests.own.points import NoisyPoints


class Encoder(nn.Module):
    """Four features to three."""

    def __init__(self, in_features: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(in_features, 3), nn.ReLU(), nn.Dropout(0.2))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layers(inputs)


class Head(nn.Linear):
    """Three features to the classes."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(3, num_classes)


class Whole(nn.Module):
    """Both in one model."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.encoder, self.head = Encoder(in_features), Head(num_classes)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.encoder(inputs))


class Together(StoppableClassification):
    """Trains both from one loss."""

    models = ("encoder", "head")

    def updates(self, step: int) -> Any:
        super().updates(step)
        return (("encoder", "head"),)

    def training(self, models: Any, name: Any, batch: Any) -> Any:
        assert "head" in name and isinstance(name, tuple)
        return {"loss": functional.cross_entropy(models["head"](models["encoder"](batch[0])), batch[1])}

    def evaluation(self, models: Any, batch: Any) -> Any:
        return super().evaluation({"model": nn.Sequential(models["encoder"], models["head"])}, batch)


class InTurn(Together):
    """Trains one after the other, each from the loss of both."""

    def updates(self, step: int) -> Any:
        return super().updates(step)[0]

    def training(self, models: Any, name: Any, batch: Any) -> Any:
        return super().training(models, (name, "head"), batch)


class BrokenHead(Together):
    """Gives the head alone a gradient that is not finite, in the third step."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0

    def updates(self, step: int) -> Any:
        self.now = step
        return super().updates(step)

    def training(self, models: Any, name: Any, batch: Any) -> Any:
        values = super().training(models, name, batch)
        if self.now != 2:
            return values
        return {"loss": values["loss"] + torch.sqrt(models["head"].bias * 0).sum()}


class Unvalidated(NoisyPoints):
    """Points to train on alone."""

    def __init__(self) -> None:
        super().__init__()
        del self.val
