"""The keys of device, strategy, checkpoint, tracker, warm start and debug."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runner.checkpoint.policies import Mode
from runner.errors import ConfigError
from runner.wiring.schema.rules import (
    CompileMode,
    DeviceKind,
    Form,
    OnError,
    Precision,
    StrategyKind,
    Weights,
    key,
    require,
    require_at_least_zero,
    require_local,
    require_positive,
)

_OF_COMPILE = "it with device.compile=true"


@dataclass
class Device:
    kind: DeviceKind = key("Set by the option: auto, cpu, cuda, mps.")
    index: Any = key("GPU index, or a list of indices; null takes the first, or all with DataParallel.")
    precision: Precision = key("Number format of forward passes: fp32, tf32, bf16, fp16.")
    compile: bool = key("Compile the model with torch.compile.")
    compile_mode: CompileMode = key("Mode of torch.compile: default, reduce-overhead or max-autotune.")
    compile_dynamic: bool | None = key(
        "Let torch.compile assume dynamic shapes (true), fixed ones (false), or find out."
    )
    channels_last: bool = key("Keep weights and batches of 4 dimensions in torch.channels_last memory format.")
    checkpoint_activations: list[str] = key(
        "Classes or patterns of names of modules that compute their activations again in backward, such as [Block]."
    )

    def __post_init__(self) -> None:
        indices = self.index if isinstance(self.index, list) else [] if self.index is None else [self.index]
        fine = all(type(one) is int and one >= 0 for one in indices) and len(set(indices)) == len(indices)
        require(fine and self.index != [], "device.index", self.index, "a number such as 1, or a list such as [0,2]")
        mode, dynamic = self.compile_mode.name, str(self.compile_dynamic).lower()
        require(self.compile or mode == "default", "device.compile_mode", mode, _OF_COMPILE)
        require(self.compile or dynamic == "none", "device.compile_dynamic", dynamic, _OF_COMPILE)


@dataclass
class Strategy:
    kind: StrategyKind = key("Set by the option: auto, single, data_parallel, ddp, fsdp.")
    timeout: float = key("Seconds that a process waits for another one of the run, before the run fails.")
    find_unused: bool = key("Look in every step for parameters without a gradient; needed where a model has such.")
    units: list[str] = key("Classes of modules that FSDP gathers one by one, such as a transformer's block.")
    cpu_offload: bool = key("Keep FSDP's shards in the host's memory (GPU only).")
    sync_batchnorm: bool = key("Let BatchNorm layers normalize over the batches of all processes (GPU only).")

    def __post_init__(self) -> None:
        require_positive(self, "strategy.", "timeout")


@dataclass
class NoCheckpoint:
    monitor: str = key("Metric that decides which checkpoint is best.")
    mode: Mode = key("Whether a smaller (min) or a larger (max) metric is better.")


@dataclass
class Checkpoint(NoCheckpoint):
    every_steps: int | None = key("Optimizer steps between saves.")
    every_epochs: int | float | None = key("Epochs between saves; 0.5 saves twice an epoch.")
    every_minutes: float | None = key("Minutes between saves.")
    keep_last: int = key("Number of newest checkpoints to keep, at least 2.")
    keep_best: int = key("Number of best checkpoints to keep.")
    keep_every: int | None = key("Keep every checkpoint whose step is a multiple of this.")
    form: Form = key("One file (file), or with strategy=fsdp a directory to which each process writes (sharded).")
    asynchronous: bool = key("Write in the background; training waits only for a copy of its state in memory.")
    on_error: OnError = key("After a failed save: stop the run, or warn and continue.")
    error_limit: int = key("Failed saves in a row tolerated by on_error=warn.")

    def __post_init__(self) -> None:
        require_positive(self, "checkpoint.", "every_steps", "every_epochs", "every_minutes", "keep_every")
        require(self.keep_last >= 2, "checkpoint.keep_last", self.keep_last, "2 or more")
        require_positive(self, "checkpoint.", "keep_best", "error_limit")


@dataclass
class Ema:
    decay: float | None = key("Decay of a moving average of the weights, such as 0.999; evaluation uses the average.")

    def __post_init__(self) -> None:
        require(self.decay is None or 0 < self.decay < 1, "ema.decay", self.decay, "a number in (0, 1)")


@dataclass
class WarmStart:
    path: str | None = key("File whose weights a new run starts from, where they fit.")
    weights: Weights = key("Weights to take from the file: raw, or ema (the moving average).")
    parts: Any = key("Which stored part feeds which model, such as {model: generator}.")
    rename: list[str] = key("Regular expressions 'pattern=replacement' applied to the file's names.")
    include: list[str] = key("Regular expressions; load only the model's names that match one.")
    exclude: list[str] = key("Regular expressions; skip the model's names that match one.")
    freeze: list[str] = key("Regular expressions; do not train the loaded parameters that match one.")
    strict: bool = key("Fail unless every name and shape matches.")
    min_matched: float = key("Fail if less than this share of the model's names was loaded.")

    def __post_init__(self) -> None:
        fine = self.parts is None or (
            isinstance(self.parts, dict) and all(isinstance(v, str) for v in self.parts.values())
        )
        require_local("warm_start.path", self.path)
        require(fine, "warm_start.parts", self.parts, "a mapping such as {model: generator}")
        require(0 <= self.min_matched <= 1, "warm_start.min_matched", self.min_matched, "a number in [0, 1]")
        for name in ("parts", "rename", "include", "exclude", "freeze", "strict"):
            found = getattr(self, name)
            require(not found or self.path is not None, f"warm_start.{name}", found, "it with warm_start.path")


@dataclass
class Debug:
    limit_train: int | None = key("Batches per epoch, from a fixed random choice of training samples.")
    limit_eval: int | None = key("Batches per evaluation of val or test, from a fixed random choice of samples.")
    overfit: int | None = key("Train and validate on the samples of this many batches.")
    profile: int | None = key("Steps to trace with torch.profiler, into profile/ of the run directory.")
    anomaly: bool = key("Name the operation whose gradient became NaN (autograd's anomaly mode; slow).")

    def __post_init__(self) -> None:
        require_positive(self, "debug.", "limit_train", "limit_eval", "overfit", "profile")
        alone = self.overfit is None or (self.limit_train is None and self.limit_eval is None)
        require(alone, "debug.overfit", self.overfit, "it without limit_train and limit_eval")


@dataclass
class EarlyStopping:
    patience: int | None = key("Stop after this many evaluations without improvement of checkpoint.monitor.")
    min_delta: float = key("Improvement that counts for patience; a smaller one does not.")
    min_epochs: int = key("Epochs before which the run never stops early.")
    threshold: float | None = key("Stop as soon as checkpoint.monitor reaches this.")

    def __post_init__(self) -> None:
        require_positive(self, "early_stopping.", "patience")
        require_at_least_zero(self, "early_stopping.", "min_delta", "min_epochs")
        fine = self.threshold is None or math.isfinite(self.threshold)
        require(fine, "early_stopping.threshold", self.threshold, "a finite number")


def require_trackers(trackers: Any) -> None:
    """Require a mapping of names to trackers, each a mapping with `_target_`, or null for none."""
    require(isinstance(trackers, Mapping), "tracker", trackers, "a mapping of names to classes")
    for name, node in trackers.items():
        if node is not None and not isinstance(node, Mapping):
            raise ConfigError(
                f"tracker.{name}={str(node).lower()} is invalid, since a tracker is a class; leave it out, "
                f"or write tracker.{name}=null for none"
            )
        if node is not None and not isinstance(node.get("_target_"), str):
            raise ConfigError(
                f"tracker.{name}._target_ is missing; set it, such as +tracker.{name}._target_=my_package.MyTracker"
            )


def writes_table(trackers: Mapping[str, Any]) -> bool:
    """Return whether one of a config's trackers writes `metrics.csv`."""
    return any(node is not None and node["_target_"].endswith(".CsvTracker") for node in trackers.values())
