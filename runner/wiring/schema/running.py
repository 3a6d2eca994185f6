"""The keys of how a run runs: device, strategy, checkpoint, trackers, debug."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runner.checkpoint.policies import Mode
from runner.errors import ConfigError
from runner.wiring.schema.rules import (
    DeviceKind,
    OnError,
    Precision,
    StrategyKind,
    Weights,
    key,
    require,
    require_local,
    require_positive,
)


@dataclass
class Device:
    kind: DeviceKind = key("Set by the option: auto, cpu, cuda, mps.")
    index: Any = key("Which GPU, or a list of them; null takes the first, or all under DataParallel.")
    precision: Precision = key("Number format of forward passes: fp32, bf16, fp16.")
    compile: bool = key("Compile the model with torch.compile.")

    def __post_init__(self) -> None:
        indices = self.index if isinstance(self.index, list) else [] if self.index is None else [self.index]
        fine = all(type(one) is int and one >= 0 for one in indices) and len(set(indices)) == len(indices)
        require(fine and self.index != [], "device.index", self.index, "a number such as 1, or a list such as [0,2]")


@dataclass
class Strategy:
    kind: StrategyKind = key("Set by the option: auto, single, data_parallel.")


@dataclass
class NoCheckpoint:
    monitor: str = key("The metric that decides what is best.")
    mode: Mode = key("min if a smaller value is better, max if a larger one is.")


@dataclass
class Checkpoint(NoCheckpoint):
    every_steps: int | None = key("Save after every so many optimizer steps.")
    every_epochs: int | None = key("Save after every so many epochs.")
    every_minutes: float | None = key("Save when so many minutes have passed since the latest save.")
    keep_last: int = key("How many of the newest checkpoints stay, at least 2.")
    keep_best: int = key("How many of the best ones stay.")
    keep_every: int | None = key("Those whose step is a multiple of this stay for ever.")
    asynchronous: bool = key("Write in the background; training waits only while its state is copied in memory.")
    on_error: OnError = key("When a checkpoint cannot be written: stop the run, or warn and go on.")
    error_limit: int = key("So many failed saves in a row are borne with on_error=warn.")

    def __post_init__(self) -> None:
        require_positive(self, "checkpoint.", "every_steps", "every_epochs", "every_minutes", "keep_every")
        require(self.keep_last >= 2, "checkpoint.keep_last", self.keep_last, "at least 2")
        require_positive(self, "checkpoint.", "keep_best", "error_limit")


@dataclass
class Ema:
    decay: float | None = key("Keep a moving average of the weights with this decay, such as 0.999, and evaluate it.")

    def __post_init__(self) -> None:
        require(self.decay is None or 0 < self.decay < 1, "ema.decay", self.decay, "in (0, 1)")


@dataclass
class WarmStart:
    path: str | None = key("A file whose weights a new run begins with, where they fit.")
    weights: Weights = key("Which weights of the file: raw, or ema, the moving average.")
    parts: Any = key("Which part of the file feeds which of our models, such as {model: generator}.")
    rename: list[str] = key("Regular expressions 'pattern=replacement' for the file's names.")
    include: list[str] = key("Regular expressions; only the model's names that match one are loaded.")
    exclude: list[str] = key("Regular expressions; the model's names that match one are not loaded.")
    freeze: list[str] = key("Regular expressions; the loaded parameters that match one are not trained.")
    strict: bool = key("Fail unless every name and shape fits.")
    min_matched: float = key("Fail unless this share of the model's names was loaded.")

    def __post_init__(self) -> None:
        fine = self.parts is None or (
            isinstance(self.parts, dict) and all(isinstance(v, str) for v in self.parts.values())
        )
        require_local("warm_start.path", self.path)
        require(fine, "warm_start.parts", self.parts, "a mapping such as {model: generator}")
        require(0 <= self.min_matched <= 1, "warm_start.min_matched", self.min_matched, "in [0, 1]")
        for name in ("parts", "rename", "include", "exclude", "freeze", "strict"):
            found = getattr(self, name)
            require(not found or self.path is not None, f"warm_start.{name}", found, "used with warm_start.path")


@dataclass
class Debug:
    limit_train: int | None = key("Batches per epoch: a fixed random choice of the training samples.")
    limit_eval: int | None = key("Batches per evaluation, of val and test alike; a fixed random choice.")
    overfit: int | None = key("Train on so many batches' worth of samples, and validate on the same.")
    profile: int | None = key("Trace so many steps with torch.profiler into profile/ of the run directory.")
    anomaly: bool = key("Let autograd name the operation whose gradient became NaN; slow.")

    def __post_init__(self) -> None:
        require_positive(self, "debug.", "limit_train", "limit_eval", "overfit", "profile")
        alone = self.overfit is None or (self.limit_train is None and self.limit_eval is None)
        require(alone, "debug.overfit", self.overfit, "used without limit_train and limit_eval")


@dataclass
class EarlyStopping:
    patience: int | None = key("Stop after so many evaluations without improvement of checkpoint.monitor.")

    def __post_init__(self) -> None:
        require_positive(self, "early_stopping.", "patience")


def require_trackers(trackers: Any) -> None:
    """Require a mapping of names to what each tracker is built from, which may be null for none."""
    require(isinstance(trackers, Mapping), "tracker", trackers, "a mapping of names to classes")
    for name, node in trackers.items():
        if node is not None and not isinstance(node, Mapping):
            raise ConfigError(
                f"tracker.{name}={str(node).lower()} is invalid, since a tracker is named by its class; leave it as it "
                f"is, or write tracker.{name}=null for none"
            )
        if node is not None and not isinstance(node.get("_target_"), str):
            raise ConfigError(
                f"tracker.{name}._target_ is missing; set it, such as +tracker.{name}._target_=my_package.MyTracker"
            )


def writes_table(trackers: Mapping[str, Any]) -> bool:
    """Return whether one of a config's trackers writes `metrics.csv`."""
    return any(node is not None and node["_target_"].endswith(".CsvTracker") for node in trackers.values())
