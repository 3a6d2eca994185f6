"""Learning-rate schedules, and the exact restoring of optimizers."""

from runner.optim.matching import match_by_name
from runner.optim.plateau import Plateau
from runner.optim.schedules import Cosine, Horizon, MultiStep, OneCycle, Step, make_scheduler

__all__ = ["Cosine", "Horizon", "MultiStep", "OneCycle", "Plateau", "Step", "make_scheduler", "match_by_name"]
