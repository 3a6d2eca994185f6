"""Every config key: its type, its sentence for `--help`, and the rules that its value must obey.

Defaults live in `conf/` only. This module does not import torch.
"""

from runner.wiring.schema.optimization import (
    Adam,
    CosineSchedule,
    InverseSqrtSchedule,
    MultiStepSchedule,
    NoScheduler,
    OneCycleSchedule,
    PlateauSchedule,
    RestartsSchedule,
    RmsProp,
    Sgd,
    StableSchedule,
    StepSchedule,
)
from runner.wiring.schema.problem import (
    Arrays,
    Classification,
    Digits,
    Gan,
    Idx,
    ImageFolder,
    LeNet,
    Mlp,
    Regression,
    ResNet,
    Synthetic,
)
from runner.wiring.schema.root import NODES, Config, Root
from runner.wiring.schema.running import (
    Checkpoint,
    Debug,
    Device,
    EarlyStopping,
    Ema,
    NoCheckpoint,
    Strategy,
    WarmStart,
)
from runner.wiring.schema.sweeping import Grid, Local, Optuna, Ray, Slurm

__all__ = ["NESTED", "NODES", "OPTIONS", "SWEEPING", "Config", "Root"]

OPTIONS: dict[str, dict[str, type]] = {
    "model": {"lenet": LeNet, "mlp": Mlp, "resnet": ResNet},
    "data": {"digits": Digits, "idx": Idx, "synthetic": Synthetic, "arrays": Arrays, "image_folder": ImageFolder},
    "learner": {"classification": Classification, "regression": Regression, "gan": Gan},
    "optimizer": {"sgd": Sgd, "adam": Adam, "rmsprop": RmsProp},
    "scheduler": {
        "none": NoScheduler,
        "cosine": CosineSchedule,
        "step": StepSchedule,
        "multistep": MultiStepSchedule,
        "onecycle": OneCycleSchedule,
        "plateau": PlateauSchedule,
        "warmup_stable_decay": StableSchedule,
        "inverse_sqrt": InverseSqrtSchedule,
        "cosine_restarts": RestartsSchedule,
    },
    "device": {"device": Device},
    "strategy": {"strategy": Strategy},
    "checkpoint": {"off": NoCheckpoint, "checkpoint": Checkpoint},
    "debug": {"debug": Debug},
}

SWEEPING: dict[str, dict[str, type]] = {
    "hydra/launcher": {"local": Local, "ray": Ray, "slurm": Slurm},
    "hydra/sweeper": {"basic": Grid, "optuna": Optuna},
}
"""Our options of Hydra's own groups."""

# Keys at the root that have keys of their own.
NESTED: dict[str, type] = {"early_stopping": EarlyStopping, "ema": Ema, "warm_start": WarmStart}
