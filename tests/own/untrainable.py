"""Data, models and learners of people's own, each with one fault that the first batches can tell."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from runner.learners import Classification
from tests.own.points import NoisyPoints


class Wrong(Dataset[Any]):
    """Delivers what a function returns for an index."""

    def __init__(self, sample: Callable[[int], Any], size: int = 20) -> None:
        self.sample, self.size = sample, size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Any:
        return self.sample(index)


def _fine(index: int) -> Any:
    return torch.zeros(4), index % 2


def _missing(index: int) -> Any:
    return None if index == 13 else (torch.zeros(4), 0)


def _ragged(index: int) -> Any:
    return torch.zeros(4 + index % 3), 0


def _double(index: int) -> Any:
    return np.zeros(4), 0


def _short(index: int) -> Any:
    return torch.zeros(4), [0, 1][index // 19] if index < 19 else {}["label"]


def _single(index: int) -> Any:
    return torch.zeros(4), lambda: 0


SAMPLES = {"fine": _fine, "missing": _missing, "ragged": _ragged, "double": _double, "short": _short, "single": _single}


class Data(NoisyPoints):
    """Points of which the training split, or the one that is named, has a fault."""

    def __init__(self, fault: str, where: str = "train") -> None:
        super().__init__()
        setattr(self, where, Wrong(SAMPLES[fault]))


class Normed(nn.Sequential):
    """Cannot be trained with one sample."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__(nn.Linear(in_features, 4), nn.BatchNorm1d(4), nn.Linear(4, num_classes))


class Raising(Classification):
    """Has a mistake of its own in a method."""

    def __init__(self, method: str) -> None:
        super().__init__()
        self.method = method

    def training(self, models: Any, name: str, batch: Any) -> Any:
        if self.method == "training":
            raise KeyError("weights")
        return super().training(models, name, batch)

    def evaluation(self, models: Any, batch: Any) -> Any:
        values = super().evaluation(models, batch)
        if self.method == "evaluation":
            del values["accuracy"]
        return values


class Unsavable(Classification):
    """Has a state that no checkpoint can hold."""

    def state_dict(self) -> Any:
        return {"noise": np.random.default_rng(0)}

    def load_state_dict(self, state: Any) -> None:
        raise AssertionError


class Remembering(Classification):
    """Has everything that a trial could change."""

    def __init__(self) -> None:
        super().__init__()
        self.count, self.seen, self.bank = 0, [torch.zeros(2)], {"sum": torch.zeros(())}
        self.teacher = nn.BatchNorm1d(4)
        self.calls = Counter({"training": 3})
        self.masks = torch.ones(1).expand(4)
        self.inner = type("Inner", (), {})()
        self.inner.count = 0

    def training(self, models: Any, name: str, batch: Any) -> Any:
        self.count += 1
        self.inner.count += 1
        self.calls["training"] += 1
        self.seen[0] += 1
        self.seen.append(torch.ones(1))
        self.bank["sum"] += 1
        self.teacher(batch[0])
        models[name].extra = 1
        with torch.no_grad():
            for parameter in models[name].parameters():
                parameter.clamp_(-0.01, 0.01)
        return super().training(models, name, batch)

    def state_dict(self) -> Any:
        return {"count": self.inner.count}

    def load_state_dict(self, state: Any) -> None:
        self.inner.count = state["count"]

    def content(self) -> list[Tensor]:
        """Return all of it as tensors."""
        numbers = [self.count, self.inner.count, len(self.seen), self.calls["training"], len(self.calls)]
        return [torch.tensor(numbers), *self.seen, self.bank["sum"], *self.teacher.state_dict().values()]
