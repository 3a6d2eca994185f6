"""The keys of how parameters are updated: optimizer and scheduler."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from runner.wiring.schema.rules import NoDecay, Unit, key, require, require_at_least_zero, require_positive


@dataclass
class Optimizing:
    _target_: str = key("The class that is built.")
    lr: float = key("Base learning rate.")
    groups: list[Any] = key("Settings of the parameters whose names match: [{match: ^stem, lr_scale: 0.1}].")
    no_decay: NoDecay | None = key("norm_and_bias: neither biases nor normalization layers have weight decay.")
    layer_decay: float | None = key("Multiplies the rate of each layer once for every layer behind it, such as 0.75.")

    def __post_init__(self) -> None:
        require_positive(self, "optimizer.", "lr")
        fine = self.layer_decay is None or 0 < self.layer_decay <= 1
        require(fine, "optimizer.layer_decay", self.layer_decay, "in (0, 1]")
        for rule in self.groups:
            require(isinstance(rule, dict), "optimizer.groups", rule, "mappings such as {match: ^stem, lr_scale: 0.1}")


@dataclass
class Sgd(Optimizing):
    momentum: float = key("Momentum.")
    weight_decay: float = key("L2 penalty.")
    nesterov: bool = key("Nesterov's momentum.")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least_zero(self, "optimizer.", "momentum", "weight_decay")
        require(not self.nesterov or self.momentum > 0, "optimizer.nesterov", True, "used with a momentum")


@dataclass
class Adam(Optimizing):
    betas: list[float] = key("Decay of the two moments.")
    weight_decay: float = key("Weight decay.")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least_zero(self, "optimizer.", "weight_decay")
        fine = len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas)
        require(fine, "optimizer.betas", self.betas, "two numbers in [0, 1)")


@dataclass
class RmsProp(Optimizing):
    alpha: float = key("Decay of the squared gradient's average.")
    momentum: float = key("Momentum.")
    weight_decay: float = key("L2 penalty.")
    centered: bool = key("Divide by the gradient's variance.")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least_zero(self, "optimizer.", "momentum", "weight_decay")
        require(0 <= self.alpha < 1, "optimizer.alpha", self.alpha, "in [0, 1)")


@dataclass
class NoScheduler:
    pass


@dataclass
class Warming:
    _target_: str = key("The class that is built.")
    unit: Unit = key("What lengths are counted in: step, epoch, or run, the whole of it being 1.")
    warmup: float = key("Length of the linear warm-up.")

    def __post_init__(self) -> None:
        require_at_least_zero(self, "scheduler.", "warmup")
        require(self.unit is not Unit.evaluation, "scheduler.unit", "evaluation", "step, epoch or run")


@dataclass
class CosineSchedule(Warming):
    final: float = key("Share of the base rate that is left at the end.")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least_zero(self, "scheduler.", "final")


@dataclass
class OneCycleSchedule(CosineSchedule):
    start: float = key("Share of the base rate that the rise begins with.")

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.start <= 1, "scheduler.start", self.start, "in [0, 1]")


@dataclass
class StepSchedule(Warming):
    every: float = key("The rate is multiplied by gamma after every so many units.")
    gamma: float = key("The factor.")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "scheduler.", "every", "gamma")


@dataclass
class MultiStepSchedule(Warming):
    milestones: list[float] = key("The rate is multiplied by gamma at each of these, in units.")
    gamma: float = key("The factor.")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "scheduler.", "gamma")
        rising = all(one < other for one, other in pairwise(self.milestones))
        fine = bool(self.milestones) and rising and self.milestones[0] > 0
        require(fine, "scheduler.milestones", self.milestones, "a rising list such as [10, 15]")


@dataclass
class PlateauSchedule:
    _target_: str = key("The class that is built.")
    unit: Unit = key("Fixed: it looks at every evaluation.")
    factor: float = key("The rate is multiplied by this.")
    patience: int = key("Evaluations without improvement to wait.")
    warmup: float = key("Length of the linear warm-up, in epochs; no evaluation counts in it.")

    def __post_init__(self) -> None:
        require(self.unit is Unit.evaluation, "scheduler.unit", self.unit.value, "evaluation, which is all it counts")
        require(0 < self.factor < 1, "scheduler.factor", self.factor, "in (0, 1)")
        require_at_least_zero(self, "scheduler.", "patience", "warmup")
