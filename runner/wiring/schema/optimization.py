"""The keys of how parameters are updated: optimizer and scheduler."""

from dataclasses import dataclass

from runner.wiring.schema.rules import Unit, key, require, require_at_least_zero, require_positive


@dataclass
class Sgd:
    _target_: str = key("The class that is built.")
    lr: float = key("Base learning rate.")
    momentum: float = key("Momentum.")
    weight_decay: float = key("L2 penalty.")
    nesterov: bool = key("Nesterov's momentum.")

    def __post_init__(self) -> None:
        require_positive(self, "optimizer.", "lr")
        require_at_least_zero(self, "optimizer.", "momentum", "weight_decay")
        require(not self.nesterov or self.momentum > 0, "optimizer.nesterov", True, "used with a momentum")


@dataclass
class Adam:
    _target_: str = key("The class that is built.")
    lr: float = key("Base learning rate.")
    betas: list[float] = key("Decay of the two moments.")
    weight_decay: float = key("Weight decay.")

    def __post_init__(self) -> None:
        require_positive(self, "optimizer.", "lr")
        require_at_least_zero(self, "optimizer.", "weight_decay")
        fine = len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas)
        require(fine, "optimizer.betas", self.betas, "two numbers in [0, 1)")


@dataclass
class NoScheduler:
    pass


@dataclass
class CosineSchedule:
    _target_: str = key("The class that is built.")
    unit: Unit = key("What warmup counts: step or epoch.")
    warmup: float = key("Length of the linear warm-up.")
    final: float = key("Share of the base rate that is left at the end.")

    def __post_init__(self) -> None:
        require_at_least_zero(self, "scheduler.", "warmup", "final")


@dataclass
class StepSchedule:
    _target_: str = key("The class that is built.")
    unit: Unit = key("What `every` counts: step or epoch.")
    every: float = key("The rate is multiplied by gamma after every so many units.")
    gamma: float = key("The factor.")

    def __post_init__(self) -> None:
        require_positive(self, "scheduler.", "every", "gamma")


@dataclass
class PlateauSchedule:
    _target_: str = key("The class that is built.")
    unit: Unit = key("Fixed: it looks at every evaluation.")
    factor: float = key("The rate is multiplied by this.")
    patience: int = key("Evaluations without improvement to wait.")

    def __post_init__(self) -> None:
        require(0 < self.factor < 1, "scheduler.factor", self.factor, "in (0, 1)")
        require_at_least_zero(self, "scheduler.", "patience")
