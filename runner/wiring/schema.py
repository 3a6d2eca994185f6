"""Every key that a config may have: its type, its sentence for `--help`, and the rules that it must obey.

Defaults stand in `conf/`, and nowhere else. torch is not imported here.
"""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from runner.wiring.rules import (
    Augment,
    Better,
    DeviceKind,
    Precision,
    Split,
    StrategyKind,
    Task,
    Unit,
    key,
    require,
    require_at_least_zero,
    require_positive,
)


@dataclass
class LeNet:
    _target_: str = key("The class that is built.")
    dropout: float = key("Probability of dropping an activation before the last two layers, in [0, 1).")


@dataclass
class Mlp:
    _target_: str = key("The class that is built.")
    hidden: list[int] = key("Widths of the hidden layers; [] is one linear layer.")
    dropout: float = key("Probability of dropping a hidden activation, in [0, 1).")


@dataclass
class Data:
    _target_: str = key("The class that is built.")
    workers: int = key("Processes that load batches; 0 loads in the training process.")
    split: Split | None = key("What task=evaluate measures: test (where there is one), val or train.")

    def __post_init__(self) -> None:
        require_at_least_zero(self, "data.", "workers")


@dataclass
class Digits(Data):
    augment: Augment = key("Random changes to training images: none, shift, flip_shift.")


@dataclass
class Idx(Digits):
    root: str | None = key("Folder of the IDX files; by default the user's cache directory.")
    download: bool = key("Fetch missing files, checked by their hash.")


@dataclass
class Synthetic(Data):
    shape: list[int] = key("Shape of one input, such as [1,32,32] or [16].")
    classes: int = key("Number of classes.")
    size: int = key("Number of training samples.")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "data.", "classes", "size")
        require(bool(self.shape) and min(self.shape) > 0, "data.shape", self.shape, "sizes greater than zero")


@dataclass
class Classification:
    _target_: str = key("The class that is built.")
    label_smoothing: float = key("Share of the target that is spread over all classes, in [0, 1).")

    def __post_init__(self) -> None:
        require(0 <= self.label_smoothing < 1, "learner.label_smoothing", self.label_smoothing, "in [0, 1)")


@dataclass
class Gan:
    _target_: str = key("The class that is built.")
    latent: int = key("Size of the noise vector; the generator's `latent` must be the same.")

    def __post_init__(self) -> None:
        require_positive(self, "learner.", "latent")


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


@dataclass
class Device:
    kind: DeviceKind = key("Set by the option: auto, cpu, cuda, mps.")
    index: Any = key("Which GPU, or a list of them; null takes the first, or all under DataParallel.")
    precision: Precision = key("Number format of forward passes: fp32, bf16, fp16.")
    compile: bool = key("Compile the model with torch.compile.")

    def __post_init__(self) -> None:
        indices = self.index if isinstance(self.index, list) else [] if self.index is None else [self.index]
        fine = all(type(one) is int and one >= 0 for one in indices)
        require(fine, "device.index", self.index, "a number such as 1, or a list such as [0,2]")


@dataclass
class Strategy:
    kind: StrategyKind = key("Set by the option: auto, single, data_parallel.")


@dataclass
class NoCheckpoint:
    monitor: str = key("The metric that decides what is best.")
    mode: Better = key("min if a smaller value is better, max if a larger one is.")


@dataclass
class Checkpoint(NoCheckpoint):
    every_steps: int | None = key("Save after every so many optimizer steps.")
    every_epochs: int | None = key("Save after every so many epochs.")
    every_minutes: float | None = key("Save when so many minutes have passed since the latest save.")
    keep_last: int = key("How many of the newest checkpoints stay, at least 2.")
    keep_best: int = key("How many of the best ones stay.")
    keep_every: int | None = key("Those whose step is a multiple of this stay for ever.")

    def __post_init__(self) -> None:
        require_positive(self, "checkpoint.", "every_steps", "every_epochs", "every_minutes", "keep_every")
        require(self.keep_last >= 2, "checkpoint.keep_last", self.keep_last, "at least 2")
        require_positive(self, "checkpoint.", "keep_best")


@dataclass
class TrackerOptions:
    csv: bool = key("Write metrics.csv.")
    tensorboard: bool = key("Write TensorBoard event files.")


@dataclass
class EarlyStopping:
    patience: int | None = key("Stop after so many evaluations without improvement of checkpoint.monitor.")

    def __post_init__(self) -> None:
        require_positive(self, "early_stopping.", "patience")


@dataclass
class Root:
    name: str | None = key("The run directory is outputs/<name>; by default a time stamp.")
    seed: int = key("Seed of everything random.")
    epochs: int | None = key("Length in passes over the training data.")
    max_steps: int | None = key("Length in optimizer steps; given alone it lifts the limit of epochs.")
    max_time: Any = key("Stop after so many seconds, or 1h30m, with a checkpoint; per attempt.")
    batch_size: int = key("Samples per optimizer step, over all devices.")
    accumulate: int = key("Micro-batches that a batch is split into.")
    clip_norm: float | None = key("Largest norm of the gradient.")
    eval_every: int | None = key("Evaluate after so many steps; null means after every epoch.")
    log_every: int = key("Write a row of metrics after so many steps.")
    early_stopping: EarlyStopping = field(default=MISSING)
    deterministic: bool = key("Use deterministic algorithms only (needed for exact resume on CUDA).")
    task: Task = key("train or evaluate.")
    resume: str | None = key("A checkpoint file or a run directory to go on from, or auto.")
    resume_allow: list[str] = key("Keys that may differ from the resumed run, which is then no longer exact.")
    checkpoint_path: str | None = key("The checkpoint that task=evaluate measures.")
    trust: list[str] = key("Packages whose classes a config that comes out of a file may build.")
    model: Any = field(default_factory=dict)
    data: Any = field(default_factory=dict)
    learner: Any = field(default_factory=dict)
    optimizer: Any = field(default_factory=dict)
    scheduler: Any = field(default_factory=dict)
    device: Any = field(default_factory=dict)
    strategy: Any = field(default_factory=dict)
    checkpoint: Any = field(default_factory=dict)
    tracker: Any = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_positive(self, "", "epochs", "max_steps", "batch_size", "accumulate", "clip_norm")
        require_positive(self, "", "eval_every", "log_every")
        require(0 <= self.seed < 2**63, "seed", self.seed, "a whole number from 0 to 2**63 - 1")
        require(self.accumulate <= self.batch_size, "accumulate", self.accumulate, "at most batch_size")


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
}
