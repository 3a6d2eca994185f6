"""Roll back to the newest valid checkpoint, with another order of the data, when a loss is not finite or spikes."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner.checkpoint.best import Standing, standing
from runner.checkpoint.facts import facts
from runner.checkpoint.listing import newest_valid
from runner.checkpoint.policies import Saved
from runner.checkpoint.ranks import of_rank
from runner.errors import NonFinite, Spike
from runner.loop.plan import Ending, save
from runner.loop.train import train
from runner.run.opening import make_plan
from runner.run.rescue import rescued
from runner.signals import Stop
from runner.wiring.build.debug import watched
from runner.wiring.schema.rules import OnNonFinite, OnSpike
from runner.wiring.starts.best_so_far import keep_record
from runner.wiring.starts.prepare import Prepared
from runner.wiring.starts.restore import read_for, restore_all
from runner.wiring.starts.start import Origin

log = logging.getLogger("runner")


def train_to_an_ending(
    run: Prepared, stop: Stop, environment: Mapping[str, Any], saved: Callable[[Saved | None], None]
) -> Ending:
    """Train until the run finishes or is stopped; call `saved` with the best checkpoint after each save.

    Raises:
        NonFinite: a loss or gradient is not finite, and there is no rollback, or no further one.
    """
    config = run.config
    may = config.on_nonfinite is OnNonFinite.rollback or config.on_spike is OnSpike.rollback
    changing = environment["attempt"] if run.start.changes else None
    while True:
        plan = make_plan(run, stop, environment, saved)
        try:
            # A fork, and changed settings that may roll back, need a first checkpoint that has them.
            if run.start.parent or (may and run.start.changes):
                save(run.state, plan)
            debug, first_step = run.config.debug, run.state.progress.global_step
            if run.strategy.processes.rank:  # the main process writes the profile
                debug = replace(debug, profile=None)
            with rescued(run.state, plan), watched(plan, debug, run.start.directory, first_step) as plan_watched:
                return train(run.state, plan_watched)
        except NonFinite as error:
            if not (isinstance(error, Spike) or config.on_nonfinite is OnNonFinite.rollback):
                raise
            failure = error
        finally:
            plan.trackers.close()
        standing = _roll_back(run, attempt=changing, failure=failure)
        run = replace(run, start=replace(run.start, origin=Origin.resume, standing=standing, changes=()))


def _roll_back(run: Prepared, *, attempt: str | None, failure: NonFinite) -> Standing:
    """Restore the newest valid checkpoint, with another order of the data; return its standing.

    An `attempt` that changed settings rolls back only to its own checkpoints, which have them.

    Raises:
        NonFinite: the failure itself, if there is no such checkpoint, or after `nonfinite_limit` rollbacks.
    """
    state, config, processes = run.state, run.config, run.strategy.processes
    times, limit = state.progress.rollbacks + 1, config.nonfinite_limit
    checkpoint = processes.once(lambda: _usable(run.start.directory, attempt))
    if checkpoint is None or times > limit:
        raise failure
    entries = read_for(run.strategy, checkpoint)
    own = of_rank(entries, checkpoint, rank=processes.rank, size=processes.size)
    restore_all(state, own, checkpoint, run.strategy)
    state.progress.rollbacks, state.whole = times, True
    log.warning(
        "%s\nrolling back to %s with another order of the data (%d of at most %d times)",
        failure, checkpoint.name, times, limit,
    )  # fmt: skip
    options = config.checkpoint
    found = processes.once(lambda: standing(checkpoint, monitor=options.monitor, mode=options.mode))
    for notice in keep_record(state, found.best, options.monitor):
        log.warning("%s", notice)
    return found


def _usable(run_directory: Path, attempt: str | None) -> Path | None:
    """Return the newest valid checkpoint, None if it is not of this attempt, where one is named."""
    checkpoint, _ = newest_valid(run_directory)
    if checkpoint is None or attempt is None:
        return checkpoint
    return checkpoint if facts(checkpoint)["environment"].get("attempt") == attempt else None
