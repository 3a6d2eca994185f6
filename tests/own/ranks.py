"""Learners and data that behave otherwise in one process of several, or write down what they saw there."""

import os
import resource
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from runner.models import Mlp
from runner.strategy.processes import own_part
from tests.own.learners import StoppableClassification
from tests.own.points import NoisyPoints, Points


def trained() -> bool:
    """Return whether training has begun: the first batches are only tried."""
    return callable(signal.getsignal(signal.SIGTERM))


def rank() -> int:
    return int(os.environ.get("RANK", "0"))


class _Numbered(Dataset[tuple[Tensor, Tensor]]):
    """Samples that tell their number."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return torch.tensor([float(index), 1.0, -1.0, 0.5]), torch.tensor(index % 2)


class Numbered:
    """Numbered samples to train, validate and test on."""

    in_features, num_classes = 4, 2

    def __init__(self, size: int = 20, val: int = 7) -> None:
        self.train, self.val, self.test = _Numbered(size), _Numbered(val), _Numbered(5)


class Sets(NoisyPoints):
    """Points to validate on, each with noise of its own: those of a `Subset` depend on what they are fetched with."""

    def __init__(self) -> None:
        super().__init__()
        self.val, self.test = {"near": Points(9), "far": Points(4)}, Points(11)  # type: ignore[assignment]


class Noting(StoppableClassification):
    """Writes the numbers of the samples of each call into a file of its process, once training has begun."""

    def _note(self, kind: str, batch: Any) -> None:
        if trained():
            numbers = " ".join(str(int(number)) for number in batch[0][:, 0])
            with open(f"seen_{os.environ.get('WORLD_SIZE', '1')}_{rank()}", "a") as file:
                file.write(f"{kind}: {numbers}\n")

    def training(self, models: Any, name: str, batch: Any) -> Any:
        self._note("training", batch)
        return super().training(models, name, batch)

    def tokens(self, batch: Any) -> int:
        return 1 + int(batch[0][:, 0].abs().sum())

    def evaluation(self, models: Any, batch: Any) -> Any:
        self._note("evaluation", batch)
        return super().evaluation(models, batch)


class Disturbed(StoppableClassification):
    """Does what the variable DO says in the update that follows step AT.

    That is: raise, exit, vanish, sleep, nan, spike, once, stop, kill, full, spoil.
    """

    def __init__(self) -> None:
        super().__init__()
        self._step = -1

    def updates(self, step: int) -> Any:
        self._step = step
        return super().updates(step)

    def training(self, models: Mapping[str, nn.Module], name: str, batch: Any) -> Any:
        values = super().training(models, name, batch)
        if not trained() or str(self._step) not in os.environ.get("AT", "").split(","):
            return values
        what = os.environ["DO"]
        self._step = -1  # once, and not for every micro-batch
        if what == "raise":
            raise ValueError("this process has had enough")
        if what == "exit":
            sys.exit(0)
        if what == "vanish":
            os._exit(0)
        if what == "sleep":
            time.sleep(1)
        if what == "full":  # from now on, its files are short
            resource.setrlimit(resource.RLIMIT_FSIZE, (6000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        if what == "spoil":
            own_part(cast(Idle, models[name]).idle.detach()).fill_(torch.inf)
        if what in ("stop", "kill"):
            os.kill(os.getpid(), signal.SIGSTOP if what == "stop" else signal.SIGKILL)
        factor = {"nan": torch.nan, "spike": 1000.0}.get(what, 1.0)
        if what == "once":
            factor = 1.0 if Path("done").exists() else torch.nan
            Path("done").touch()
        return {"loss": values["loss"] * factor}


class Idle(Mlp):
    """Has a parameter that is trained and never used."""

    def __init__(self, in_features: int, num_classes: int, hidden: Sequence[int] = ()) -> None:
        super().__init__(in_features, num_classes, hidden)
        self.idle = nn.Parameter(torch.zeros(4))


class _Failing(Points):
    """Fails in the process that the environment names, once it was trained for a while."""

    fetched = 0

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        self.fetched += trained()
        if "FAIL" in os.environ and self.fetched > 12:
            raise ValueError("a broken disk")
        return super().__getitem__(index)


class Failing(NoisyPoints):
    """Points on a disk that breaks in one process."""

    def __init__(self) -> None:
        super().__init__()
        self.train = _Failing(20)


class Other(NoisyPoints):
    """Has other samples, or another order, in the process that the environment says it of."""

    def __init__(self) -> None:
        super().__init__(int(os.environ.get("SIZE", "20")))

    def order(self, epoch: int, generator: torch.Generator) -> list[int]:
        found = torch.randperm(len(self.train), generator=generator).tolist()
        return found[::-1] if "REVERSED" in os.environ else found


class Normed(nn.Module):
    """Has BatchNorm, dropout and several layers, as large as some buckets of gradients."""

    def __init__(self, in_features: int, num_classes: int, width: int = 8) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(in_features, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, width),
            nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, num_classes),
        )  # fmt: skip

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layers(inputs)


class Odd(Normed):
    """Has buffers of dtypes that gloo does not know."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__(in_features, num_classes)
        for dtype in (torch.float8_e4m3fn, torch.int16, torch.uint16, torch.complex64, torch.bool, torch.bfloat16):
            self.register_buffer(f"of_{str(dtype).removeprefix('torch.')}", torch.ones(3).to(dtype))


class Partial(nn.Module):
    """Has a layer that it does not use."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(in_features, num_classes), nn.Linear(3, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.used(inputs)


class Wrong(StoppableClassification):
    """Says that it learns a number that cannot be."""

    def training(self, models: Any, name: str, batch: Any) -> Any:
        raise ValueError("a number that cannot be")


class WrongInOne(StoppableClassification):
    """Cannot train in one process of several."""

    def training(self, models: Any, name: str, batch: Any) -> Any:
        if rank() == 1:
            raise ValueError("this process has had enough")
        return super().training(models, name, batch)


class Uneven(StoppableClassification):
    """Has a tensor in its state, within a list, in one process of several."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def training(self, models: Any, name: str, batch: Any) -> Any:
        if trained() and rank() == 1:
            self.seen = [batch[0].sum(0)]
        return super().training(models, name, batch)

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def load_state_dict(self, state: Any) -> None:
        self.seen = list(state["seen"])


class LateNorm(nn.Module):
    """Normalizes its inputs by BatchNorm alone."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.BatchNorm1d(in_features), nn.Linear(in_features, num_classes))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layers(inputs)
