"""When to save and what to keep, as small frozen values that compose."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Boundary:
    """What a trigger knows about the boundary between two steps."""

    step: int
    """Optimizer steps done."""
    epoch: int
    """Epochs finished."""
    step_in_epoch: int
    """Steps done of the present epoch; 0 where one has just ended."""
    improved: bool
    """Whether the monitored metric has just reached its best value."""


class Trigger(Protocol):
    """Decides at which boundaries a checkpoint is due, the same in every process of a run."""

    def due(self, boundary: Boundary) -> bool:
        """Return whether to save at this boundary."""


class Request(Protocol):
    """Asks for a checkpoint at whatever boundary comes, in one process of a run."""

    def due(self, minutes: float) -> bool:
        """Return whether to save now, `minutes` after the latest save, or else the start."""


@dataclass(frozen=True)
class EverySteps:
    """Save after every `count` optimizer steps."""

    count: int

    def due(self, boundary: Boundary) -> bool:
        """Return whether the step is a multiple of `count`."""
        return boundary.step % self.count == 0


@dataclass(frozen=True)
class EveryEpochs:
    """Save after every `count` epochs."""

    count: int

    def due(self, boundary: Boundary) -> bool:
        """Return whether an epoch has just ended, and its number is a multiple of `count`."""
        return self.passed(boundary.epoch, boundary.step_in_epoch)

    def passed(self, epoch: int, step_in_epoch: int) -> bool:
        """Return whether an epoch has just ended, and its number is a multiple of `count`."""
        return step_in_epoch == 0 and epoch % self.count == 0


@dataclass(frozen=True)
class EveryPart:
    """Save at the first step at or after each multiple of a part of an epoch, such as 1/4 or 5/2.

    Of epochs of other lengths than `steps_per_epoch`, those steps count that an epoch of this length has.
    """

    epochs: Fraction
    steps_per_epoch: int

    def due(self, boundary: Boundary) -> bool:
        """Return whether the latest step reached a multiple."""
        return self.passed(boundary.epoch, boundary.step_in_epoch)

    def passed(self, epoch: int, step_in_epoch: int) -> bool:
        """Return whether the latest step reached a multiple."""
        done, (part, whole) = epoch * self.steps_per_epoch + step_in_epoch, self.epochs.as_integer_ratio()
        return step_in_epoch < self.steps_per_epoch and done * whole % (part * self.steps_per_epoch) < whole


@dataclass(frozen=True)
class EveryMinutes:
    """A request: save at the first boundary that is `minutes` after the latest save."""

    minutes: float

    def due(self, minutes: float) -> bool:
        """Return whether enough minutes have passed."""
        return minutes >= self.minutes


@dataclass(frozen=True)
class OnImprovement:
    """Save whenever the monitored metric reaches a new best value."""

    def due(self, boundary: Boundary) -> bool:
        """Return whether the metric has just improved."""
        return boundary.improved


class Mode(Enum):
    """Whether a smaller or a larger metric is better."""

    min = "min"
    max = "max"


def is_better(mode: Mode, candidate: float, best: float | None) -> bool:
    """Return whether `candidate` beats `best`; a value that is not finite never does, and a tie keeps `best`."""
    if not math.isfinite(candidate):
        return False
    return best is None or (candidate < best if mode is Mode.min else candidate > best)


@dataclass(frozen=True)
class Saved:
    """One checkpoint file as retention sees it."""

    step: int
    path: Path
    metric: float | None
    """The monitored metric of this state; None if it was not measured."""


class Retention(Protocol):
    """Chooses the checkpoints to keep; those that no retention keeps are pruned."""

    def keep(self, saved: Sequence[Saved]) -> set[Path]:
        """Return the files to keep among `saved`, which is in ascending order."""


@dataclass(frozen=True)
class KeepLast:
    """Keep the newest `count`."""

    count: int

    def keep(self, saved: Sequence[Saved]) -> set[Path]:
        """Return the newest ones."""
        return {entry.path for entry in saved[-self.count :]}


@dataclass(frozen=True)
class KeepBest:
    """Keep the `count` with the best metric."""

    count: int
    mode: Mode

    def keep(self, saved: Sequence[Saved]) -> set[Path]:
        """Return the best ones."""
        return {entry.path for entry in ranked(saved, self.mode)[: self.count]}


@dataclass(frozen=True)
class KeepEvery:
    """Keep every checkpoint whose step is a multiple of `steps`."""

    steps: int

    def keep(self, saved: Sequence[Saved]) -> set[Path]:
        """Return those at these steps."""
        return {entry.path for entry in saved if entry.step % self.steps == 0}


@dataclass(frozen=True)
class KeepPinned:
    """Keep every checkpoint with a file `<its stem>.pin` beside it, which a user creates with `touch`."""

    def keep(self, saved: Sequence[Saved]) -> set[Path]:
        """Return those that are pinned now."""
        return {entry.path for entry in saved if entry.path.with_suffix(".pin").exists()}


def retentions(mode: Mode, *, last: int, best: int, every: int | None) -> list[Retention]:
    """Return what keeps the newest, the best, the pinned and, with `every`, each checkpoint at these steps."""
    found: list[Retention] = [KeepLast(last), KeepBest(best, mode), KeepPinned()]
    return [*found, KeepEvery(every)] if every else found


def ranked(saved: Sequence[Saved], mode: Mode) -> list[Saved]:
    """Return the checkpoints with a finite metric, best first; of equal ones the earlier first."""
    measured = [entry for entry in saved if entry.metric is not None and math.isfinite(entry.metric)]
    sign = 1.0 if mode is Mode.min else -1.0
    return sorted(measured, key=lambda entry: (sign * (entry.metric or 0.0), entry.step))
