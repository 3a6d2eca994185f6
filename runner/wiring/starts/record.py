"""The record of a run, its best value: that of a file that is there, also after a resume or a fork."""

from torch.optim.lr_scheduler import ReduceLROnPlateau

from runner.checkpoint.policies import Mode, Saved
from runner.loop.state import TrainState
from runner.progress import Progress


def keep_record(state: TrainState, best: Saved | None, monitor: str) -> list[str]:
    """Let the record be the metric of a file that is there; return what is to be said where it was not."""
    progress = state.progress
    lost = progress.best_metric, progress.best_step
    if not _begin_record(progress, best) or lost[0] is None:
        return []
    now = "anew" if best is None else f"from {best.metric:.6g} at step {best.step}"
    return [f"no whole checkpoint is left of the best {monitor}, {lost[0]:.6g} at step {lost[1]}: it begins {now}"]


def _begin_record(progress: Progress, best: Saved | None) -> bool:
    """Begin the record with what this file measured, if it is another one; return whether it is."""
    found = (best.metric, best.step) if best else (None, None)
    if found == (progress.best_metric, progress.best_step):
        return False
    progress.best_metric, progress.best_step = found
    progress.evaluations_without_improvement = 0
    return True


def change_measure(state: TrainState, best: Saved | None, mode: Mode) -> None:
    """What was best by another metric is no measure for this one."""
    _begin_record(state.progress, best)
    state.progress.evaluations_without_improvement = 0
    for scheduler in state.schedulers.values():
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler._init_is_better(mode.value, scheduler.threshold, scheduler.threshold_mode)
            scheduler._reset()
