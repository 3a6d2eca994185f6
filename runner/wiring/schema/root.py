"""The keys at the root."""

import math
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from runner.signals import parse_duration
from runner.wiring.schema.rules import MicroBatchSize, OnNonFinite, OnSpike, Task, key, require, require_positive
from runner.wiring.schema.running import (
    Checkpoint,
    Debug,
    Device,
    EarlyStopping,
    Ema,
    NoCheckpoint,
    Strategy,
    WarmStart,
    require_trackers,
)

NODES = ("model", "data", "learner", "optimizer", "scheduler", "tracker")
"""The groups whose options build an object; its class defines their keys."""

_OF_A_FILE = "it with task=evaluate or task=predict; to train from its weights, use warm_start.path"


@dataclass
class Root:
    """The config that Hydra composes; a group has the keys of its option."""

    name: str | None = key("The run directory is outputs/<name>; default: a time stamp.")
    seed: int = key("Seed of all random generators.")
    epochs: int | None = key("Length in passes over the training data.")
    max_steps: int | None = key("Length in optimizer steps; given alone, it lifts the limit of epochs.")
    max_samples: int | None = key("Length in training samples; the run ends with the step that reaches it.")
    max_tokens: int | None = key("Length in tokens, which the learner's `tokens(batch)` counts.")
    max_time: Any = key("Time limit of one attempt, in seconds or as 1h30m; the run saves and stops.")
    batch_size: int = key("Samples per optimizer step, over all devices.")
    accumulate: int = key("Micro-batches per optimizer step.")
    micro_batch_size: MicroBatchSize | None = key(
        "auto: when a step is out of memory, double accumulate and repeat it."
    )
    clip_norm: float | None = key("Maximum norm of the gradient.")
    clip_value: float | None = key("Maximum size of each element of the gradient.")
    on_nonfinite: OnNonFinite = key("When the loss is NaN or infinite: stop, skip the step, or rollback.")
    nonfinite_limit: int = key("Skips in a row, or rollbacks in all, before the run fails.")
    on_spike: OnSpike | None = key(
        "When the loss is spike_factor times the median of the last 32: skip the step, or rollback."
    )
    spike_factor: float = key("Factor on the median of a model's last 32 losses above which a loss is a spike.")
    eval_every: int | float | None = key(
        "Between evaluations: 100 is steps, 0.5 or 2.0 (with a point) is epochs; null evaluates after every epoch."
    )
    log_every: int = key("Steps between rows of metrics.")
    early_stopping: EarlyStopping = field(default=MISSING)
    ema: Ema = field(default=MISSING)
    warm_start: WarmStart = field(default=MISSING)
    deterministic: bool = key("Use deterministic algorithms only; exact resume on CUDA needs it.")
    task: Task = key("train, evaluate, predict, or check_resume (is a resume of this config exact?).")
    resume: str | None = key("Checkpoint file or run directory to continue from, or auto.")
    rewind: bool = key("Let resume=FILE go back; newer checkpoints move to checkpoints/superseded.")
    resume_allow: list[str] = key("Keys that may differ from the resumed run, which is then no longer exact.")
    checkpoint_path: str | None = key("Checkpoint for task=evaluate and task=predict.")
    source: Any = key("For task=predict: a folder, a file or a list of new files, in place of a split of the data.")
    output: str | None = key("New file for task=predict, .csv, .npz or .jsonl.")
    trust: list[str] = key("Packages whose classes a config from a file may build.")
    model: Any = field(default_factory=dict)
    data: Any = field(default_factory=dict)
    learner: Any = field(default_factory=dict)
    optimizer: Any = field(default_factory=dict)
    scheduler: Any = field(default_factory=dict)
    device: Any = field(default_factory=dict)
    strategy: Any = field(default_factory=dict)
    checkpoint: Any = field(default_factory=dict)
    tracker: Any = field(default_factory=dict)
    debug: Any = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_positive(
            self,
            "",
            "epochs",
            "max_steps",
            "max_samples",
            "max_tokens",
            "batch_size",
            "accumulate",
            "clip_norm",
            "clip_value",
        )
        require_positive(self, "", "eval_every", "log_every", "nonfinite_limit")
        require(1 < self.spike_factor < math.inf, "spike_factor", self.spike_factor, "a number above 1")
        parse_duration(self.max_time)
        require(0 <= self.seed < 2**63, "seed", self.seed, "an integer from 0 to 2**63 - 1")
        of_a_file = self.task in (Task.evaluate, Task.predict)
        require(self.checkpoint_path is None or of_a_file, "checkpoint_path", self.checkpoint_path, _OF_A_FILE)
        require(self.output is None or self.task is Task.predict, "output", self.output, "it with task=predict")
        require(self.source is None or self.task is Task.predict, "source", self.source, "it with task=predict")
        continues = self.resume is not None or self.task is not Task.train
        require(not self.resume_allow or continues, "resume_allow", self.resume_allow, "it with resume")
        require(not self.rewind or self.resume is not None, "rewind", "true", "it with resume=FILE")
        require(self.accumulate <= self.batch_size, "accumulate", self.accumulate, "at most batch_size")
        alone = self.clip_value is None or self.clip_norm is None
        require(alone, "clip_value", self.clip_value, "one of clip_value and clip_norm, and null for the other")
        require_trackers(self.tracker)


class Config(Root):
    """A config that obeys every rule: settings are typed, the nodes of objects to build are plain mappings."""

    model: dict[str, Any]
    data: dict[str, Any]
    learner: dict[str, Any]
    optimizer: dict[str, Any]
    scheduler: dict[str, Any]
    tracker: dict[str, Any]
    device: Device
    strategy: Strategy
    checkpoint: Checkpoint | NoCheckpoint
    debug: Debug

    @property
    def saves(self) -> bool:
        """Whether the run writes checkpoints."""
        return isinstance(self.checkpoint, Checkpoint)
