"""`Plan` holds all that does not change during training, and tells what is due between two steps."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum

from runner.checkpoint.policies import EveryEpochs, EveryPart, Mode
from runner.checkpoint.saving import Saving
from runner.data.sources import Evaluated, Source
from runner.learners import Learner
from runner.loop.feeding import Feed
from runner.loop.guard import Guard
from runner.loop.state import TrainState
from runner.loop.stopping import EarlyStopping
from runner.loop.wishes import Wishes
from runner.optim.freezing import Freezing
from runner.optim.pacing import Pacing
from runner.optim.schedules import Horizon
from runner.progress import Progress
from runner.strategy.strategies import Strategy
from runner.tracking import Console, Tracker


class Ending(Enum):
    """Why training stopped."""

    finished = "finished"
    stopped_early = "stopped_early"
    interrupted = "interrupted"


@dataclass(frozen=True)
class Plan:
    """The fixed surroundings of a run."""

    learner: Learner
    strategy: Strategy
    train_loader: Source
    val_loaders: Mapping[str, Evaluated]
    """By name of the validation set; "" names the only one."""
    horizon: Horizon
    limits: Mapping[str, int]
    """Lengths that only counting tells: of the samples of own batches, of tokens."""
    seed: int
    clip_norm: float | None
    clip_value: float | None
    guard: Guard
    skip_limit: int
    """Skipped steps in a row before the run fails."""
    eval_every: int | EveryEpochs | EveryPart
    """An integer counts steps."""
    log_every: int
    monitor: str
    mode: Mode
    min_delta: float
    """The smallest improvement that counts for early stopping."""
    early_stopping: EarlyStopping
    saving: Saving
    trackers: Tracker
    console: Console
    wishes: Wishes
    pacing: Pacing
    every: Mapping[str, int] = field(default_factory=dict)
    """The models that are updated only in steps divisible by their number."""
    feed: type[Feed] = Feed
    """How batches come from the loader."""
    freezing: Collection[Freezing] = ()
    """The frozen parts of the models."""

    def evaluation_due(self, progress: Progress) -> bool:
        """Return whether an evaluation is due at this boundary and not done yet."""
        step = progress.global_step
        if step <= progress.evaluated_at:
            return False
        every = self.eval_every
        if isinstance(every, int):
            return step % every == 0 or self.length_reached(progress)
        return every.passed(progress.epoch, progress.step_in_epoch) or self.length_reached(progress)

    def report_due(self, progress: Progress) -> bool:
        """Return whether a row of metrics is due at this boundary and not done yet."""
        step = progress.global_step
        if step <= progress.reported_at or self.evaluation_due(progress):
            return False
        return step % self.log_every == 0 or progress.evaluated_at == step or self.length_reached(progress)

    def length_reached(self, progress: Progress) -> bool:
        """Return whether all steps are done, or all samples or tokens counted."""
        if any(progress.counts[name] >= limit for name, limit in self.limits.items()):
            return True
        return self.horizon.total_steps is not None and progress.global_step >= self.horizon.total_steps

    def ending(self, progress: Progress) -> Ending | None:
        """Return why training stops at this boundary, None if it continues."""
        complete = not self.evaluation_due(progress)
        if complete and self.length_reached(progress):
            return Ending.finished
        if complete and self.early_stopping.due(progress):
            return Ending.stopped_early
        return Ending.interrupted if self.wishes.stop() else None

    def save_due(self, progress: Progress) -> bool:
        """Return whether a checkpoint is due at this boundary."""
        step = progress.global_step
        if step == 0:
            return False
        return self.wishes.save() or self.saving.due(
            step=step,
            epoch=progress.epoch,
            step_in_epoch=progress.step_in_epoch,
            improved=progress.best_step == step,
        )

    def looks_at_every_loss(self) -> bool:
        """Return whether to check each step's loss: on a GPU, or over processes, that would be waited for."""
        return self.strategy.device.type == "cpu" and self.strategy.processes.size == 1


def save(state: TrainState, plan: Plan) -> None:
    """Save a checkpoint of this boundary; it is durable once `plan.saving.settle` returns."""
    progress, total = state.progress, plan.strategy.processes.total
    progress.check_finite(total)
    state.check_models()
    plan.saving.save(
        state.parts(),
        epoch=progress.epoch,
        global_step=progress.global_step,
        loss=float(total({"loss": progress.loss})["loss"]),
        metrics=progress.measured_here(),
    )
