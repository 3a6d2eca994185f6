"""The keys of optimizer and scheduler."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from runner.wiring.schema.rules import Decay, NoDecay, Unit, key, require, require_at_least_zero, require_positive


@dataclass
class Optimizing:
    _target_: str = key("Class to build.")
    lr: float = key("Base learning rate.")
    groups: list[Any] = key("Settings for parameters whose names match a pattern: [{match: ^stem, lr_scale: 0.1}].")
    no_decay: NoDecay | None = key("norm_and_bias: no weight decay for biases and normalization layers.")
    layer_decay: float | None = key("Factor on a layer's rate for each layer behind it, such as 0.75.")
    freeze: list[str] = key("Patterns of names that are not trained, such as ['^backbone'].")
    unfreeze_at: Any = key("When freeze ends, in epochs, or in steps as {step: 500}; null: never.")

    def __post_init__(self) -> None:
        require_positive(self, "optimizer.", "lr")
        fine = self.layer_decay is None or 0 < self.layer_decay <= 1
        require(fine, "optimizer.layer_decay", self.layer_decay, "a number in (0, 1]")
        for rule in self.groups:
            require(isinstance(rule, dict), "optimizer.groups", rule, "mappings such as {match: ^stem, lr_scale: 0.1}")


@dataclass
class Fusable(Optimizing):
    foreach: bool | None = key("Update several tensors at once; null: where torch finds it faster.")
    fused: bool | None = key("Update all tensors in one kernel, often the fastest on a GPU; null: not.")

    def __post_init__(self) -> None:
        super().__post_init__()
        require(not (self.foreach and self.fused), "optimizer.foreach", "true", "one of foreach and fused")


@dataclass
class Sgd(Fusable):
    momentum: float = key("Momentum.")
    weight_decay: float = key("L2 penalty.")
    nesterov: bool = key("Nesterov's momentum.")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least_zero(self, "optimizer.", "momentum", "weight_decay")
        require(not self.nesterov or self.momentum > 0, "optimizer.nesterov", True, "it with a momentum above 0")


@dataclass
class Adam(Fusable):
    betas: list[float] = key("Decay rates of the two moments.")
    weight_decay: float = key("Weight decay.")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least_zero(self, "optimizer.", "weight_decay")
        fine = len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas)
        require(fine, "optimizer.betas", self.betas, "two numbers in [0, 1)")


@dataclass
class RmsProp(Optimizing):
    alpha: float = key("Decay rate of the average squared gradient.")
    momentum: float = key("Momentum.")
    weight_decay: float = key("L2 penalty.")
    centered: bool = key("Normalize by the gradient's estimated variance.")
    foreach: bool | None = key("Update several tensors at once; null: where torch finds it faster.")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least_zero(self, "optimizer.", "momentum", "weight_decay")
        require(0 <= self.alpha < 1, "optimizer.alpha", self.alpha, "a number in [0, 1)")


@dataclass
class NoScheduler:
    pass


@dataclass
class Warming:
    _target_: str = key("Class to build.")
    unit: Unit = key("Unit of lengths: step, epoch, or run (the whole run is 1).")
    warmup: float = key("Length of the linear warm-up.")

    def __post_init__(self) -> None:
        require_at_least_zero(self, "scheduler.", "warmup")
        require(self.unit is not Unit.evaluation, "scheduler.unit", "evaluation", "step, epoch or run")


@dataclass
class CosineSchedule(Warming):
    final: float = key("Final rate, as a share of the base rate.")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least_zero(self, "scheduler.", "final")


@dataclass
class OneCycleSchedule(CosineSchedule):
    start: float = key("Initial rate, as a share of the base rate.")

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.start <= 1, "scheduler.start", self.start, "a number in [0, 1]")


@dataclass
class StableSchedule(CosineSchedule):
    decay: float = key("Length of the fall at the end of the run.")
    shape: Decay = key("Shape of the fall: linear, or sqrt (1 minus a square root).")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "scheduler.", "decay")


@dataclass
class InverseSqrtSchedule(Warming):
    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "scheduler.", "warmup")


@dataclass
class RestartsSchedule(CosineSchedule):
    period: float = key("Length of the first fall.")
    mult: int = key("Factor on the length of each further fall.")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "scheduler.", "period", "mult")


@dataclass
class StepSchedule(Warming):
    every: float = key("Units between two multiplications of the rate by gamma.")
    gamma: float = key("Factor on the rate.")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "scheduler.", "every", "gamma")


@dataclass
class MultiStepSchedule(Warming):
    milestones: list[float] = key("Times, in units, at which the rate is multiplied by gamma.")
    gamma: float = key("Factor on the rate.")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "scheduler.", "gamma")
        rising = all(one < other for one, other in pairwise(self.milestones))
        fine = bool(self.milestones) and rising and self.milestones[0] > 0
        require(fine, "scheduler.milestones", self.milestones, "a rising list such as [10, 15]")


@dataclass
class PlateauSchedule:
    _target_: str = key("Class to build.")
    unit: Unit = key("Fixed: counts evaluations.")
    factor: float = key("Factor on the rate.")
    patience: int = key("Evaluations without improvement before the rate drops.")
    warmup: float = key("Length of the linear warm-up, in epochs, in which evaluations do not count.")

    def __post_init__(self) -> None:
        require(self.unit is Unit.evaluation, "scheduler.unit", self.unit.value, "evaluation, its only unit")
        require(0 < self.factor < 1, "scheduler.factor", self.factor, "a number in (0, 1)")
        require_at_least_zero(self, "scheduler.", "patience", "warmup")
