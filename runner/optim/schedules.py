"""Learning-rate schedules as pure functions of the step, so that a resume or a new length cannot bend them."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from runner.errors import ConfigError


@dataclass(frozen=True)
class Horizon:
    """How long the run is: in all, None without a limit, and per epoch; in optimizer steps."""

    total_steps: int | None
    steps_per_epoch: int

    def steps(self, count: float, unit: str) -> int:
        """Return `count` of "epoch" or "step" in steps."""
        return round(count * self.steps_per_epoch) if unit == "epoch" else round(count)


class Cosine:
    """Linear warm-up over `warmup` units, then half a cosine down to `final` of the base rate at the end.

    https://arxiv.org/abs/1608.03983 (without restarts).
    """

    def __init__(self, horizon: Horizon, *, unit: str, warmup: float, final: float) -> None:
        if horizon.total_steps is None:
            raise ConfigError("scheduler=cosine needs to know the end: set epochs or max_steps, or take scheduler=none")
        self._warmup = horizon.steps(warmup, unit)
        self._total = max(horizon.total_steps, self._warmup + 1)
        self._final = final

    def factor(self, step: int) -> float:
        """Return what the base rate is multiplied with for the step after `step` done ones."""
        if step < self._warmup:
            return (step + 1) / (self._warmup + 1)
        done = min(1.0, (step - self._warmup) / (self._total - self._warmup))
        return self._final + (1 - self._final) * 0.5 * (1 + math.cos(math.pi * done))


class Step:
    """Multiply the rate by `gamma` after every `every` units."""

    def __init__(self, horizon: Horizon, *, unit: str, every: float, gamma: float) -> None:
        self._every = max(1, horizon.steps(every, unit))
        self._gamma = gamma

    def factor(self, step: int) -> float:
        """Return what the base rate is multiplied with for the step after `step` done ones."""
        return float(self._gamma ** (step // self._every))


def make_scheduler(optimizer: Optimizer, factor: Callable[[int], float]) -> LambdaLR:
    """Return a torch scheduler for a pure function of the step.

    The function is wrapped in a lambda: torch saves the attributes of a callable object and would
    bring an old horizon back.
    """
    return LambdaLR(optimizer, lambda step: factor(step))


def keep_rates(optimizer: Optimizer, scheduler: Any) -> None:
    """Make the optimizer's present rates the base of the schedule above it."""
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    if hasattr(scheduler, "base_lrs"):
        scheduler.base_lrs = [group["lr"] for group in optimizer.param_groups]


def rebase(optimizer: Optimizer, scheduler: Any, lr: float) -> None:
    """Make `lr` the base rate of a restored optimizer and of the schedule above it."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    keep_rates(optimizer, scheduler)


def recompute(optimizer: Optimizer, scheduler: LambdaLR) -> None:
    """Set the rate that the schedule, as it is now, has for the coming step."""
    rates = [base * f(scheduler.last_epoch) for base, f in zip(scheduler.base_lrs, scheduler.lr_lambdas, strict=True)]
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    scheduler._last_lr = rates
