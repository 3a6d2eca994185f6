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
        training = callable(signal.getsignal(signal.SIGTERM))  # and not only trying the first batches
        if training and os.environ.get("STOP_AT") == str(step):
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


class Leading(StoppableClassification):
    """Leads the model towards the mean of the losses so far, its state, as momentum does in contrastive learning."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = torch.zeros(())
        self.seen: list[float] = []

    def training(self, models: Any, name: str, batch: Any) -> Any:
        loss = super().training(models, name, batch)["loss"]
        self.mean = 0.9 * self.mean + 0.1 * loss.detach()
        self.seen = [*self.seen[-3:], float(self.mean)]
        return {"loss": loss * (1 + self.mean) + 0.01 * loss * sum(self.seen)}

    def evaluation(self, models: Any, batch: Any) -> Any:
        values = super().evaluation(models, batch)
        return {**values, "loss": values["loss"] + self.mean}

    def state_dict(self) -> dict[str, Any]:
        return {"mean": self.mean, "seen": self.seen}

    def load_state_dict(self, state: Any) -> None:
        self.mean, self.seen = state["mean"], list(state["seen"])


class LeadingModule(torch.nn.Module):
    """The same as an `nn.Module`, with a parameter that no optimizer has."""

    metrics = ("loss",)
    models = ("model",)

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))
        self.scale = torch.nn.Parameter(torch.ones(()))
        self.norm = torch.nn.BatchNorm1d(4)

    def updates(self, step: int) -> Any:
        return StoppableClassification().updates(step)

    def training(self, models: Any, name: str, batch: Any) -> Any:  # type: ignore[override]
        inputs, targets = batch
        loss = torch.nn.functional.cross_entropy(models[name](self.norm(inputs)), targets)
        self.mean += 0.1 * loss.detach()
        return {"loss": loss * (self.scale + self.mean)}

    def evaluation(self, models: Any, batch: Any) -> Any:
        inputs, targets = batch
        return {"loss": torch.nn.functional.cross_entropy(models["model"](self.norm(inputs)), targets) + self.mean}


class Homemade:
    """A scheduler that does without torch's base class."""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer


class Layerwise(torch.optim.Adam):
    """A rate for each layer, and no weight decay on what has one dimension; its groups know no names if `bare`."""

    def __init__(
        self, named: Any, lr: float, decay: float = 0.5, weight_decay: float = 0.1, bare: bool = False
    ) -> None:
        layers = list(dict.fromkeys(name.rpartition(".")[0] for name, _ in named))
        groups: dict[Any, Any] = {}
        for name, parameter in named:
            depth, flat = layers.index(name.rpartition(".")[0]), parameter.dim() < 2
            settings = {"lr": lr * decay**depth, "weight_decay": 0.0 if flat else weight_decay}
            group = groups.setdefault((settings["lr"], flat), {"params": [], **settings})
            group["params"].append(parameter if bare else (name, parameter))
        super().__init__(list(groups.values()))


class Cropped(NoisyPoints):
    """Has an argument called as one of the shipped data's, which means something else."""

    def __init__(self, augment: bool | str = True) -> None:
        super().__init__()
        assert augment is False, f"augment={augment!r}"


class Following(StoppableClassification):
    """Keeps a teacher with dropout, which no optimizer trains and whose mode nobody sets."""

    def __init__(self) -> None:
        super().__init__()
        self.teachers = [torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.Dropout(0.5))]
        torch.nn.init.constant_(self.teachers[0][0].weight, 0.5)

    def evaluation(self, models: Any, batch: Any) -> Any:
        return {**super().evaluation(models, batch), "loss": self.teachers[0](batch[0]).mean()}
