"""Learners whose metrics are no means over samples."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tests.own.learners import StoppableClassification


def f1_of(chosen: Tensor, targets: Tensor) -> float:
    """Return the F1 of class 1; 0 where there is none."""
    hits = float(((chosen == 1) & (targets == 1)).sum())
    return 2 * hits / max(1.0, float((chosen == 1).sum() + (targets == 1).sum()))


class F1:
    """Gathers as a metric of torchmetrics does."""

    def __init__(self) -> None:
        self.chosen: list[Tensor] = []
        self.targets: list[Tensor] = []

    def update(self, chosen: Tensor, targets: Tensor) -> None:
        self.chosen.append(chosen)
        self.targets.append(targets)

    def compute(self) -> float:
        return f1_of(torch.cat(self.chosen), torch.cat(self.targets))

    def reset(self) -> None:
        self.chosen, self.targets = [], []


class Judged(StoppableClassification):
    """Says the loss a sample, accuracy as a mean, F1 by an accumulator, and F1 and the worst loss from rows as well."""

    metrics = ("loss", "accuracy", "f1", "f1_of_rows", "worst")

    def __init__(self) -> None:
        super().__init__()
        self.f1 = F1()

    def evaluation(self, models: Any, batch: Any) -> Any:
        logits, targets = models["model"](batch[0]), batch[1]
        losses, chosen = functional.cross_entropy(logits, targets, reduction="none"), logits.argmax(1)
        self.f1.update(chosen, targets)
        accuracy = (chosen == targets).float().mean()
        rows = {"pairs": torch.stack([chosen, targets], 1), "costs": losses}
        return {"loss": losses, "accuracy": accuracy, "f1": self.f1, **rows}

    def summary(self, rows: Any) -> Any:
        chosen, targets = rows["pairs"].unbind(1)
        return {"f1_of_rows": f1_of(chosen, targets), "worst": rows["costs"].max()}


class Averaged(Judged):
    """Takes the F1 of a batch for a number whose mean means something."""

    metrics = ("loss", "f1")

    def evaluation(self, models: Any, batch: Any) -> Any:
        chosen = models["model"](batch[0]).argmax(1)
        return {"loss": super().evaluation(models, batch)["loss"], "f1": torch.tensor(f1_of(chosen, batch[1]))}

    def summary(self, rows: Any) -> Any:
        return {}


class Forgetful(Judged):
    """Has a summary that lacks one of its metrics."""

    def summary(self, rows: Any) -> Any:
        return {"f1_of_rows": 0.0}


class Merging(F1):
    """Takes the others' samples too, as a metric of torcheval does."""

    def merge_state(self, metrics: list["Merging"]) -> None:
        for other in metrics:
            self.chosen += other.chosen
            self.targets += other.targets


class JudgedTogether(Judged):
    """Can be judged over several processes."""

    def __init__(self) -> None:
        super().__init__()
        self.f1 = Merging()
