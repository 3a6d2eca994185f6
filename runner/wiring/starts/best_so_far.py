"""A run's record, its best metric: always that of an existing file, also after a resume or fork."""

from torch.optim.lr_scheduler import ReduceLROnPlateau

from runner.checkpoint.policies import Mode, Saved
from runner.loop.state import TrainState
from runner.progress import Progress


def keep_record(state: TrainState, best: Saved | None, monitor: str) -> list[str]:
    """Set the record to the metric of an existing file; return a notice if the old record's file is lost."""
    progress = state.progress
    lost = progress.best_metric, progress.best_step
    if not _begin_record(progress, best) or lost[0] is None:
        return []
    now = "afresh" if best is None else f"from {best.metric:.6g} at step {best.step}"
    return [
        f"no valid checkpoint is left of the best {monitor}, {lost[0]:.6g} at step {lost[1]}: the record starts {now}"
    ]


def _begin_record(progress: Progress, best: Saved | None) -> bool:
    """Set the record to this file's metric; return whether that changed it."""
    found = (best.metric, best.step) if best else (None, None)
    if found == (progress.best_metric, progress.best_step):
        return False
    progress.best_metric, progress.best_step = found
    progress.improved_metric, progress.evaluations_without_improvement = found[0], 0
    return True


def change_measure(state: TrainState, best: Saved | None, mode: Mode) -> None:
    """Restart the record, early stopping and plateaus for another metric or mode."""
    _begin_record(progress := state.progress, best)
    progress.improved_metric, progress.evaluations_without_improvement = progress.best_metric, 0
    for scheduler in state.schedulers.values():
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler._init_is_better(mode.value, scheduler.threshold, scheduler.threshold_mode)
            scheduler._reset()
