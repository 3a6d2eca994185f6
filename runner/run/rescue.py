"""Save the last complete step of a run that fails outside an update."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from runner.errors import NonFinite
from runner.loop.plan import Plan, save
from runner.loop.state import TrainState
from runner.run.joint import JointSaving

log = logging.getLogger("runner")


@contextmanager
def rescued(state: TrainState, plan: Plan) -> Iterator[None]:
    """When the block fails, save the last complete step if it is usable, and raise the failure itself."""
    try:
        yield
    except BaseException as failure:
        _rescue(state, plan, failure)
        raise


def _rescue(state: TrainState, plan: Plan, failure: BaseException) -> None:
    saving = plan.saving
    try:
        saving.settle_alone() if isinstance(saving, JointSaving) else saving.settle()
    except Exception as former:  # this step may still be saved
        if former is not failure:
            log.warning("an earlier step could not be saved: %s", former)
    if isinstance(saving, JointSaving):  # the other processes may be elsewhere, or have ended
        return
    if not isinstance(failure, Exception) or not state.whole or isinstance(failure, NonFinite):
        return
    try:
        save(state, plan)
        plan.saving.settle()
    except Exception as second:  # a broken device fails again here
        log.warning("the last step could not be saved: %s", second)
