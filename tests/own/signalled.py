"""A user's model, data and learner in which signals arrive at the moment that the environment names.

MOMENT="save:2:SIGINT+0.05,SIGINT+0.2" sends them 0.05 and 0.2 seconds after the second save has begun.
"""

import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, get_worker_info

from runner.learners import Classification

_seen: Counter[str] = Counter()


def strike(place: str) -> bool:
    """Send what is to be sent at this place now; True if it was."""
    if place != "build" and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        return False  # the run has not begun, and the first batches are only tried
    wanted, _, rest = os.environ.get("MOMENT", "").partition(":")
    _seen[place] += 1
    if wanted != place or rest.split(":")[0] != str(_seen[place]):
        return False
    for entry in rest.split(":")[1].split(","):
        name, _, delay = entry.partition("+")
        number = getattr(signal, name)
        if delay:
            timer = threading.Timer(float(delay), os.kill, (os.getpid(), number))
            timer.daemon = True
            timer.start()
        else:
            os.kill(os.getpid(), number)
    return True


class Items(Dataset[tuple[Tensor, Tensor]]):
    """Noisy points; the moments "item", which then takes a while, and "worker", in a loading process."""

    def __init__(self, size: int) -> None:
        self._points = torch.randn(size, 4, generator=torch.Generator().manual_seed(1))

    def __len__(self) -> int:
        return len(self._points)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if get_worker_info() is not None:
            strike("worker")
        elif strike("item"):
            _linger()
        return self._points[index] + torch.randn(4), (self._points[index].sum() > 0).long()


def _linger() -> None:
    """Take ITEM_SECONDS, or until the test makes a file."""
    end = time.monotonic() + float(os.environ.get("ITEM_SECONDS", "1"))
    while time.monotonic() < end and not Path("go").exists():
        time.sleep(0.01)


class Data:
    """Three splits; the moment "build"."""

    in_features = 4
    num_classes = 2

    def __init__(self, size: int = 40) -> None:
        strike("build")
        self.train, self.val, self.test = Items(size), Items(7), Items(12)


class Heavy(nn.Module):
    """Few parameters, and a buffer that makes saving take a while; the moment "save"."""

    def __init__(self, in_features: int, num_classes: int, mebibytes: int = 0) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, num_classes)
        self.dropout = nn.Dropout(0.3)
        self.register_buffer("ballast", torch.zeros(mebibytes, 1 << 18))
        self.register_state_dict_pre_hook(lambda *_: strike("save"))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.linear(self.dropout(inputs))  # type: ignore[no-any-return]


class Learner(Classification):
    """The moments "step", "evaluation", "test" (the best model's at the end), "product" and "killed worker"."""

    def training(self, models: Any, name: str, batch: Any) -> dict[str, Tensor]:
        strike("step")
        if strike("product"):
            torch.mm(torch.ones(2000, 2000), torch.ones(2000, 2000))
        if os.environ.get("KILL_WORKER_AT") == str(_seen["step"]):
            _kill_a_worker()
        return super().training(models, name, batch)

    def evaluation(self, models: Any, batch: Any) -> dict[str, Tensor]:
        strike("evaluation" if len(batch[1]) == 7 else "test")
        return super().evaluation(models, batch)


def _kill_a_worker() -> None:
    """Kill a loading process in the midst of a step, and see to it that this process hears of it there."""
    import multiprocessing

    worker = multiprocessing.active_children()[0]
    os.kill(worker.pid, signal.SIGKILL)  # type: ignore[arg-type]
    time.sleep(0.3)
