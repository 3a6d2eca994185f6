"""Learning-rate schedules as pure functions of the step, so that a resume or a new length keeps them exact."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from runner.errors import ConfigError


@dataclass(frozen=True)
class Horizon:
    """The length of the run (None without a limit) and of an epoch, in optimizer steps."""

    total_steps: int | None
    steps_per_epoch: int | None
    """None for a stream, whose epochs end where it ends."""

    def steps(self, count: float, unit: str) -> int:
        """Return `count` units in steps; a unit is "epoch", "step", or "run" for the whole run."""
        if not count or unit == "step":
            return round(count)
        return round(count * (self.end("scheduler.unit=run") if unit == "run" else self.epoch("scheduler.unit=epoch")))

    def epoch(self, needed_by: str) -> int:
        """Return the steps of an epoch; ConfigError if they are not known."""
        if self.steps_per_epoch is None:
            raise ConfigError(
                f"{needed_by} needs the number of steps in an epoch, which a stream does not tell; count in steps, "
                "with scheduler.unit=step"
            )
        return self.steps_per_epoch

    def end(self, needed_by: str) -> int:
        """Return the total number of steps; ConfigError if the run has no known end."""
        if self.total_steps is None:
            raise ConfigError(
                f"{needed_by} needs to know the end: set epochs or max_steps, or take scheduler=none; max_tokens, and "
                "max_samples with an order of the data's own, give no number of steps"
            )
        return self.total_steps


class Schedule:
    """A factor on the base rate per step: a linear warm-up over `warmup` units, then `course`."""

    def __init__(self, horizon: Horizon, *, unit: str, warmup: float = 0.0) -> None:
        self._warmup = horizon.steps(warmup, unit)

    def factor(self, step: int) -> float:
        """Return the factor on the base rate after `step` steps."""
        ramp = (step + 1) / (self._warmup + 1) if step < self._warmup else 1.0
        return ramp * self.course(step)

    def course(self, step: int) -> float:
        """Return the factor without the warm-up."""
        raise NotImplementedError


class Cosine(Schedule):
    """After the warm-up, half a cosine down to `final` of the base rate at the end.

    https://arxiv.org/abs/1608.03983 (without restarts).
    """

    def __init__(self, horizon: Horizon, *, unit: str, warmup: float, final: float) -> None:
        total = horizon.end("scheduler=cosine")
        super().__init__(horizon, unit=unit, warmup=warmup)
        self._total = max(total, self._warmup + 1)
        self._final = final

    def course(self, step: int) -> float:
        """Return the factor without the warm-up."""
        done = min(1.0, max(0, step - self._warmup) / (self._total - self._warmup))
        return _between(1.0, self._final, done)


class Step(Schedule):
    """Multiplies the rate by `gamma` after every `every` units."""

    def __init__(self, horizon: Horizon, *, unit: str, every: float, gamma: float, warmup: float = 0.0) -> None:
        super().__init__(horizon, unit=unit, warmup=warmup)
        self._every = max(1, horizon.steps(every, unit))
        self._gamma = gamma

    def course(self, step: int) -> float:
        """Return the factor without the warm-up."""
        return float(self._gamma ** (step // self._every))


class MultiStep(Schedule):
    """Multiplies the rate by `gamma` at each of the `milestones`, given in units."""

    def __init__(
        self, horizon: Horizon, *, unit: str, milestones: Sequence[float], gamma: float, warmup: float = 0.0
    ) -> None:
        super().__init__(horizon, unit=unit, warmup=warmup)
        self._milestones = [horizon.steps(milestone, unit) for milestone in milestones]
        self._gamma = gamma

    def course(self, step: int) -> float:
        """Return the factor without the warm-up."""
        return float(self._gamma ** sum(step >= milestone for milestone in self._milestones))


class OneCycle(Schedule):
    """Rises from `start` of the base rate to all of it over `warmup` units, then falls to `final` of it at the end.

    Both along half a cosine. https://arxiv.org/abs/1708.07120
    """

    def __init__(self, horizon: Horizon, *, unit: str, warmup: float, start: float, final: float) -> None:
        super().__init__(horizon, unit=unit)
        total = horizon.end("scheduler=onecycle")
        self._top = min(horizon.steps(warmup, unit), total - 1)
        self._total, self._start, self._final = total, start, final

    def course(self, step: int) -> float:
        """Return the factor."""
        if step < self._top:
            return _between(self._start, 1.0, step / self._top)
        return _between(1.0, self._final, min(1.0, (step - self._top) / (self._total - self._top)))


class WarmupStableDecay(Schedule):
    """After the warm-up, all of the base rate, until it falls to `final` of it over the last `decay` units.

    The fall is linear, or with shape="sqrt" by 1 minus the square root. https://arxiv.org/abs/2405.18392
    """

    def __init__(
        self, horizon: Horizon, *, unit: str, warmup: float, decay: float, final: float, shape: str = "linear"
    ) -> None:
        total = horizon.end("scheduler=warmup_stable_decay")
        super().__init__(horizon, unit=unit, warmup=warmup)
        self._total = max(total, self._warmup + 1)
        self._stable_until = min(max(self._warmup, total - horizon.steps(decay, unit)), self._total - 1)
        self._final, self._shape = final, shape

    def course(self, step: int) -> float:
        """Return the factor without the warm-up."""
        done = min(1.0, max(0, step - self._stable_until) / (self._total - self._stable_until))
        return 1.0 + (self._final - 1.0) * (math.sqrt(done) if self._shape == "sqrt" else done)


class InverseSqrt(Schedule):
    """After the warm-up, falls with the inverse square root of the step; needs no end.

    https://arxiv.org/abs/1706.03762, section 5.3.
    """

    def course(self, step: int) -> float:
        """Return the factor without the warm-up."""
        length = max(1, self._warmup)
        return math.sqrt(length / max(length, step))


class CosineRestarts(Schedule):
    """After the warm-up, falls along half a cosine to `final` of the base rate, again and again; needs no end.

    The first fall takes `period` units, each further one `mult` times as long. https://arxiv.org/abs/1608.03983
    """

    def __init__(self, horizon: Horizon, *, unit: str, warmup: float, period: float, mult: int, final: float) -> None:
        super().__init__(horizon, unit=unit, warmup=warmup)
        self._period, self._mult, self._final = max(1, horizon.steps(period, unit)), mult, final

    def course(self, step: int) -> float:
        """Return the factor without the warm-up."""
        at, period = max(0, step - self._warmup), self._period
        if self._mult == 1:
            at %= period
        while at >= period:
            at, period = at - period, period * self._mult
        return _between(1.0, self._final, at / period)


def _between(first: float, last: float, done: float) -> float:
    """Return the point of half a cosine from `first` to `last`."""
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * done))


def make_scheduler(optimizer: Optimizer, factor: Callable[[int], float]) -> LambdaLR:
    """Return a torch scheduler for a pure function of the step.

    A lambda wraps the function: torch saves the attributes of a callable object, and would restore an old horizon.
    """
    return LambdaLR(optimizer, lambda step: factor(step))


def keep_rates(optimizer: Optimizer, scheduler: Any) -> None:
    """Make the optimizer's current rates the base rates of its schedule."""
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    if hasattr(scheduler, "base_lrs"):
        scheduler.base_lrs = [group["lr"] for group in optimizer.param_groups]


def rebase(optimizer: Optimizer, scheduler: Any, lr: float) -> None:
    """Make `lr` the base rate of a restored optimizer and its schedule."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    keep_rates(optimizer, scheduler)


def recompute(optimizer: Optimizer, scheduler: LambdaLR) -> None:
    """Set the rate of the next step from the current schedule."""
    rates = [base * f(scheduler.last_epoch) for base, f in zip(scheduler.base_lrs, scheduler.lr_lambdas, strict=True)]
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    scheduler._last_lr = rates
