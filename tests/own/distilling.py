"""Learners with a frozen teacher, and with a parameter of their own."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.own.learners import StoppableClassification

KINDS = ("model", "teacher")


class Teacher(nn.Module):
    """Has what `train()` mode would change: dropout, and running statistics."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.BatchNorm1d(in_features), nn.Dropout(0.5), nn.Linear(in_features, num_classes))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layers(inputs)


class Distilling(StoppableClassification):
    """Trains "student" to say what "teacher" says, which learns nothing."""

    metrics = ("loss", "accuracy")
    models = ("student", "teacher")
    frozen = ("teacher",)

    def updates(self, step: int) -> Any:
        super().updates(step)
        return ("student",)

    def training(self, models: Any, name: str, batch: Any) -> Any:
        assert models["student"].training and not models["teacher"].training
        wanted = models["teacher"](batch[0]).softmax(1)
        return {"loss": functional.cross_entropy(models["student"](batch[0]), wanted)}

    def evaluation(self, models: Any, batch: Any) -> Any:
        return super().evaluation({"model": models["student"]}, batch)


class Eager(Distilling):
    """Wants to train what is frozen."""

    def updates(self, step: int) -> Any:
        return ("student", "teacher")


class Tempered(nn.Module):
    """Learns the temperature of its loss together with the model."""

    metrics = ("loss", "accuracy")
    models = ("model",)

    def __init__(self) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(()))

    def updates(self, step: int) -> Any:
        return StoppableClassification().updates(step)

    def training(self, models: Any, name: str, batch: Any) -> Any:  # type: ignore[override]
        return {"loss": functional.cross_entropy(models[name](batch[0]) / self.temperature, batch[1])}

    def evaluation(self, models: Any, batch: Any) -> Any:
        return StoppableClassification().evaluation(models, batch)
