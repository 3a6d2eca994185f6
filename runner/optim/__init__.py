"""Learning-rate schedules, and the exact restoring of optimizers."""

from runner.optim.matching import match_by_name
from runner.optim.plateau import Plateau
from runner.optim.schedules import (
    Cosine,
    CosineRestarts,
    Horizon,
    InverseSqrt,
    MultiStep,
    OneCycle,
    Step,
    WarmupStableDecay,
    make_scheduler,
)

__all__ = [
    "Cosine",
    "CosineRestarts",
    "Horizon",
    "InverseSqrt",
    "MultiStep",
    "OneCycle",
    "Plateau",
    "Step",
    "WarmupStableDecay",
    "make_scheduler",
    "match_by_name",
]
