"""Every key that a config may have: its type, its sentence for `--help`, and the rules that it must obey.

Defaults stand in `conf/`, and nowhere else. torch is not imported here.
"""

from runner.wiring.schema.optimization import Adam, CosineSchedule, NoScheduler, PlateauSchedule, Sgd, StepSchedule
from runner.wiring.schema.problem import Classification, Digits, Gan, Idx, LeNet, Mlp, Synthetic
from runner.wiring.schema.root import Root
from runner.wiring.schema.running import (
    Checkpoint,
    Debug,
    Device,
    EarlyStopping,
    Ema,
    NoCheckpoint,
    Strategy,
    TrackerOptions,
    WarmStart,
)

__all__ = ["NESTED", "OPTIONS", "Root"]

OPTIONS: dict[str, dict[str, type]] = {
    "model": {"lenet": LeNet, "mlp": Mlp},
    "data": {"digits": Digits, "idx": Idx, "synthetic": Synthetic},
    "learner": {"classification": Classification, "gan": Gan},
    "optimizer": {"sgd": Sgd, "adam": Adam},
    "scheduler": {
        "none": NoScheduler,
        "cosine": CosineSchedule,
        "step": StepSchedule,
        "plateau": PlateauSchedule,
    },
    "device": {"device": Device},
    "strategy": {"strategy": Strategy},
    "checkpoint": {"checkpoint": Checkpoint, "off": NoCheckpoint},
    "tracker": {"tracker": TrackerOptions},
    "debug": {"debug": Debug},
}

# Keys at the root that have keys of their own.
NESTED: dict[str, type] = {"early_stopping": EarlyStopping, "ema": Ema, "warm_start": WarmStart}
