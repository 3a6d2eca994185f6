"""Saving the last complete step of a run that fails outside of an update."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from runner.errors import NonFinite
from runner.loop.plan import Plan, save
from runner.loop.state import TrainState

log = logging.getLogger("runner")


@contextmanager
def rescued(state: TrainState, plan: Plan) -> Iterator[None]:
    """Save the last complete step, if it is worth it, when what runs inside fails; the failure stays the one raised."""
    try:
        yield
    except BaseException as failure:
        _rescue(state, plan, failure)
        raise


def _rescue(state: TrainState, plan: Plan, failure: BaseException) -> None:
    try:
        plan.saving.settle()
    except Exception as former:  # that an earlier step could not be saved says nothing of this one
        log.warning("and a former step could not be saved: %s", former)
    if not isinstance(failure, Exception) or not state.whole or isinstance(failure, NonFinite):
        return
    try:
        save(state, plan)
        plan.saving.settle()
    except Exception as second:  # a broken device fails again here
        log.warning("and the last step could not be saved: %s", second)
