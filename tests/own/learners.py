"""Learners that can be interrupted at a given step, that have a state, or predict otherwise."""

import os
import signal
from typing import Any

import torch

from runner.learners import Classification


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


class Following(StoppableClassification):
    """Keeps a teacher with dropout, which no optimizer trains and whose mode nobody sets."""

    def __init__(self) -> None:
        super().__init__()
        self.teachers = [torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.Dropout(0.5))]
        torch.nn.init.constant_(self.teachers[0][0].weight, 0.5)

    def evaluation(self, models: Any, batch: Any) -> Any:
        return {**super().evaluation(models, batch), "loss": self.teachers[0](batch[0]).mean()}


class Forgetful(Leading):
    """Does not restore one of its values."""

    def load_state_dict(self, state: Any) -> None:
        self.mean = state["mean"]


class Boxes(Outputs):
    """Finds a box for each number of the sample above zero, some words about them, and how many."""

    def prediction(self, models: Any, batch: Any) -> Any:
        boxes = [sample[sample > 0][:, None] * torch.ones(2) for sample in batch[0]]
        said = [{"count": len(one), "name": "x" * len(one)} for one in boxes]
        return {**super().prediction(models, batch), "boxes": boxes, "said": said, "free": [[one] for one in said]}


class Spiking(StoppableClassification):
    """Multiplies the loss by 50 in the steps after 4 and after 7 done ones."""

    def __init__(self) -> None:
        super().__init__()
        self.now = -1

    def updates(self, step: int) -> Any:
        self.now = step
        return super().updates(step)

    def training(self, models: Any, name: str, batch: Any) -> Any:
        loss = super().training(models, name, batch)["loss"]
        return {"loss": loss * (50 if self.now in (4, 7) else 1)}


class Hungry(Leading):
    """Is out of memory, once it has run and learned, for more than `room` samples, from a step on."""

    def __init__(self, room: int, since: int = 0) -> None:
        super().__init__()
        self.room, self.since, self.now = room, since, -1

    def updates(self, step: int) -> Any:
        self.now = step
        return super().updates(step)

    def training(self, models: Any, name: str, batch: Any) -> Any:
        values = super().training(models, name, batch)
        if self.now >= self.since and len(batch[0]) > self.room:
            raise torch.OutOfMemoryError(f"no room for {len(batch[0])} samples")
        return values
