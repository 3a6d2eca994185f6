"""The keys at the root."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from runner.signals import parse_duration
from runner.wiring.schema.rules import OnNonFinite, Task, key, require, require_positive
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
"""The groups that objects are built from, whose keys their classes know."""

_OF_A_FILE = "left out without task=evaluate or task=predict; to train from its weights, use warm_start.path"


@dataclass
class Root:
    """What Hydra composes: a group takes whatever keys its option has."""

    name: str | None = key("The run directory is outputs/<name>; by default a time stamp.")
    seed: int = key("Seed of everything random.")
    epochs: int | None = key("Length in passes over the training data.")
    max_steps: int | None = key("Length in optimizer steps; given alone it lifts the limit of epochs.")
    max_time: Any = key("Stop after so many seconds, or 1h30m, with a checkpoint; per attempt.")
    batch_size: int = key("Samples per optimizer step, over all devices.")
    accumulate: int = key("Micro-batches that a batch is split into.")
    clip_norm: float | None = key("Largest norm of the gradient.")
    on_nonfinite: OnNonFinite = key("What to do when the loss is NaN or infinite: stop, skip the step, or rollback.")
    nonfinite_limit: int = key("So many skipped steps in a row, or rollbacks in all, are borne before the run stops.")
    eval_every: int | None = key("Evaluate after so many steps; null means after every epoch.")
    log_every: int = key("Write a row of metrics after so many steps.")
    early_stopping: EarlyStopping = field(default=MISSING)
    ema: Ema = field(default=MISSING)
    warm_start: WarmStart = field(default=MISSING)
    deterministic: bool = key("Use deterministic algorithms only (needed for exact resume on CUDA).")
    task: Task = key("train, evaluate, predict, or check_resume: is a resume of this config exact?")
    resume: str | None = key("A checkpoint file or a run directory to go on from, or auto.")
    rewind: bool = key("Let resume=FILE go back: newer checkpoints are moved to checkpoints/superseded.")
    resume_allow: list[str] = key("Keys that may differ from the resumed run, which is then no longer exact.")
    checkpoint_path: str | None = key("The checkpoint that task=evaluate and task=predict use.")
    output: str | None = key("The new file that task=predict writes, .csv or .npz.")
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
    debug: Any = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_positive(self, "", "epochs", "max_steps", "batch_size", "accumulate", "clip_norm")
        require_positive(self, "", "eval_every", "log_every", "nonfinite_limit")
        parse_duration(self.max_time)
        require(0 <= self.seed < 2**63, "seed", self.seed, "a whole number from 0 to 2**63 - 1")
        of_a_file = self.task in (Task.evaluate, Task.predict)
        require(self.checkpoint_path is None or of_a_file, "checkpoint_path", self.checkpoint_path, _OF_A_FILE)
        require(
            self.output is None or self.task is Task.predict, "output", self.output, "left out without task=predict"
        )
        continues = self.resume is not None or self.task is not Task.train
        require(not self.resume_allow or continues, "resume_allow", self.resume_allow, "left out without resume")
        require(not self.rewind or self.resume is not None, "rewind", "true", "left out without resume=FILE")
        require(self.accumulate <= self.batch_size, "accumulate", self.accumulate, "at most batch_size")
        require_trackers(self.tracker)


class Config(Root):
    """A config that obeys every rule: what it says of the run itself is typed, what is built are plain nodes."""

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
        """Whether there are checkpoints; with checkpoint=off there are none."""
        return isinstance(self.checkpoint, Checkpoint)
