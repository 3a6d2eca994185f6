"""The loop: the only code that advances training state."""

import math
import time
from collections.abc import Mapping
from functools import partial

from torch import nn

from runner.data.loaders.batches import Batch, move
from runner.learners import training_of
from runner.loop.answers import check_training, updates_of
from runner.loop.evaluate import evaluate_each
from runner.loop.feeding import Feed
from runner.loop.plan import Ending, Plan, save
from runner.loop.state import TrainState
from runner.optim.buffers import kept_buffers
from runner.progress import Names, Seen
from runner.randomness import isolated


def train(state: TrainState, plan: Plan) -> Ending:
    """Train from `state` on until the run's length is reached or a stop is requested.

    Each iteration begins at the boundary between two steps: evaluate, report, save, each if due and not yet done. So a
    state saved at any boundary, even during an evaluation, continues exactly.
    """
    progress, total = state.progress, plan.strategy.processes.total
    models = {name: plan.strategy.wrap(model.train(name in state.optimizers)) for name, model in state.models.items()}
    averages = {name: plan.strategy.wrap(average.model) for name, average in state.averages.items()}
    batches = plan.feed(plan.train_loader, state, plan.learner)
    saved_at = (progress.global_step, progress.evaluated_at)
    clock = time.monotonic()

    while True:
        if plan.looks_at_every_loss() or plan.report_due(progress) or plan.evaluation_due(progress):
            progress.check_finite(total)
        if plan.evaluation_due(progress):
            _evaluate(state, plan, models | averages)
        if plan.report_due(progress):
            clock = _report(state, plan, clock)

        ending = plan.ending(progress)
        boundary = (progress.global_step, progress.evaluated_at)
        unsaved = boundary != saved_at or progress.global_step == 0
        if unsaved and (ending or plan.save_due(progress)):
            save(state, plan)
            saved_at = boundary
        if ending:
            plan.saving.settle()
            return ending

        batch = next(batches)
        with state.update():
            progress.begin_step()
            plan.strategy.align(state.models)
            for part in plan.freezing:
                part.apply(progress.global_step)
            for names in updates_of(plan.learner, progress.global_step, state.optimizers, plan.every):
                _update(state, plan, models, names, batches)
            state.count(batch, plan.learner, total)
            progress.advance(epoch_ended=state.data.advance(batch))
            state.step_schedulers(plan.pacing)
            state.update_averages()
        plan.console.advance(progress.global_step)


def _update(state: TrainState, plan: Plan, models: Mapping[str, nn.Module], names: Names, batches: Feed) -> None:
    """Compute the gradient of one model, or of several; apply it if the guard allows."""
    optimizer, models = state.optimizer_of(names), plan.strategy.updated(models, names)
    plan.guard.begin(state.models)
    seen = batches.gradient(partial(_accumulate, state, plan, models, names))
    plan.strategy.reduce(optimizer, models)
    if plan.guard.allows(state.scaler, optimizer, seen, names):
        state.scaler.step(optimizer, clip_norm=plan.clip_norm, clip_value=plan.clip_value)
        state.progress.observe(names, seen)
    else:
        state.progress.skip(names, plan.skip_limit)


def _accumulate(
    state: TrainState, plan: Plan, models: Mapping[str, nn.Module], names: Names, batch: Batch
) -> list[Seen]:
    """Accumulate the gradient over the micro-batches; return the figures of each with its share."""
    strategy, seen = plan.strategy, list[Seen]()
    state.optimizer_of(names).zero_grad()
    for part, share in batch.micro_batches():
        put_back = _nothing if share else kept_buffers(state.models)  # a stand-in counts for no running statistic
        with strategy.accumulating(models, last=len(seen) == len(batch.parts) - 1):
            with state.scaler.autocast():
                values = training_of(plan.learner)(models, names, move(part, strategy.device))
            check_training(values, plan.learner)
            state.scaler.backward(values["loss"], share * strategy.processes.size)
        put_back()
        seen.append(({metric: value.detach() for metric, value in values.items()}, share))
    return seen


def _nothing() -> None:
    """Do nothing."""


def _evaluate(state: TrainState, plan: Plan, models: Mapping[str, nn.Module]) -> None:
    """Evaluate on `val` and record the metrics, unless a stop comes first; leaves training's generators unchanged.

    Without a `val`, records the means of training since the last report.
    """
    plan.strategy.align(models)
    with isolated(plan.seed, state.progress.global_step), state.scaler.autocast():
        metrics = evaluate_each(
            models, plan.learner, loaders=plan.val_loaders, strategy=plan.strategy, stop=plan.wishes.stop
        )
    if metrics is not None:
        measured = {f"val/{name}": value for name, value in metrics.items()}
        total = plan.strategy.processes.total
        state.record(measured or state.progress.window_means(total), plan.monitor, plan.mode, plan.min_delta)
        plan.pacing.after_evaluation(state.schedulers, state.progress.metrics.get(plan.monitor, math.nan))


def _report(state: TrainState, plan: Plan, clock: float) -> float:
    """Log one row: the means since the last report, the rates, this step's metrics; return the time."""
    progress, now = state.progress, time.monotonic()
    progress.seconds += now - clock
    means = progress.take_window(plan.strategy.processes.total)
    row = means | state.learning_rates() | progress.measured_here() | {"seconds": progress.seconds}
    plan.trackers.log(progress.global_step, progress.epoch, row)
    return now
