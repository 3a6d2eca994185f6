"""`python run.py`: prepare everything that can be wrong, then train, and leave a directory that tells the truth."""

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import run_job
from hydra.types import HydraContext

from runner.commands.complaints import log_failure
from runner.exit_codes import FINISHED
from runner.run_directory.claim import claim
from runner.run_directory.environment import describe_environment, summary
from runner.run_directory.ownership import Ownership
from runner.run_directory.status import EARLY_STOPPING, read_status
from runner.signals import Stop
from runner.wiring.config.compose import checked
from runner.wiring.overrides.arguments import repeated
from runner.wiring.starts.choose import choose_start
from runner.wiring.starts.start import Origin

if TYPE_CHECKING:  # each of them imports torch
    from runner.commands.record import StatusWriter
    from runner.loop.plan import Ending, Plan
    from runner.wiring.starts.prepare import Prepared

log = logging.getLogger("runner")


def train_command(words: Sequence[str], searchpath: Sequence[str]) -> int:
    """Train as the words say and return the exit code; whatever is wrong is raised before anything is made."""
    with Ownership() as ownership:
        start = choose_start(words, searchpath, ownership.take)
        if start.finished:
            print(f"{start.directory} is finished already; to go on, {start.way_on}")
            return FINISHED
        checked(start.config)  # before torch is imported
        for line in repeated(words):
            print(line)
        if continued := ownership.holds(start.directory):
            ownership.sign()
        from runner.wiring.starts.prepare import prepare

        prepared = prepare(start)
        if not continued:
            claim(start.directory, ownership)
        return _run_job(prepared)


def _run_job(run: "Prepared") -> int:
    """Let Hydra make its record and the log in the run directory, and run; return the exit code."""
    loader = GlobalHydra.instance().config_loader()
    context = HydraContext(config_loader=loader, callbacks=Callbacks(run.start.config))
    job = run_job(
        task_function=lambda _: run_prepared(run),
        config=run.start.config,
        job_dir_key="hydra.run.dir",
        job_subdir_key=None,
        hydra_context=context,
    )
    code = job.return_value
    assert isinstance(code, int)
    return code


def run_prepared(run: "Prepared") -> int:
    """Train, keep `status.json` true, and return the exit code."""
    from runner.commands import messages
    from runner.commands.record import StatusWriter, attempt_of, record

    former = read_status(run.start.directory)
    attempt = attempt_of(run, 0 if former is None else former.attempt)
    environment = describe_environment(sys.argv, str(run.devices))
    status = StatusWriter(run, attempt.attempt)
    with Stop(run.max_seconds) as stop:
        try:
            record(run, attempt, environment)
            status("running", None)
            messages.announce(run)
            ending = _train(run, stop, {**summary(environment), "attempt": attempt.token}, status)
            ending, metrics = _test(run, stop, ending)
        except BaseException as error:
            failed = isinstance(error, (Exception, SystemExit))  # sys.exit in the user's code is no success
            status("failed" if failed else "interrupted", _reason(error))
            if not failed:
                raise
            return log_failure(error)
        return _end(run, ending, stop.requested(), status, metrics)


def _end(run: "Prepared", ending: "Ending", reason: str | None, status: "StatusWriter", metrics: Any) -> int:
    """Put the ending on record, say it, and return the exit code; signals are still held off."""
    from runner.commands import messages
    from runner.loop.plan import Ending

    if ending is Ending.interrupted:
        status("interrupted", reason)
        return messages.leave(run, str(reason))
    status("finished", None if ending is Ending.finished else EARLY_STOPPING, metrics)
    log.info("%s: %s", "finished" if ending is Ending.finished else "stopped early", messages.summary(run, status.best))
    if metrics is not None:
        log.info("best.tar on test: %s", "  ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
    return FINISHED


def _train(run: "Prepared", stop: Stop, environment: Mapping[str, Any], status: "StatusWriter") -> "Ending":
    """Train to an ending; what is not finite goes back to the last good checkpoint, if that is the policy."""
    from runner.errors import NonFinite
    from runner.wiring.starts.plan import make_plan
    from runner.wiring.starts.restore import roll_back

    changing = environment["attempt"] if run.start.changes else None
    while True:
        plan = make_plan(run, stop, environment, status.saved)
        try:
            return _attempt(run, plan)
        except NonFinite as error:
            if run.config["on_nonfinite"] != "rollback":
                raise
            failure = error
        finally:
            plan.trackers.close()
        standing = roll_back(run.state, run.start.directory, config=run.config, attempt=changing, failure=failure)
        run = replace(run, start=replace(run.start, origin=Origin.resume, standing=standing, changes=()))


def _attempt(run: "Prepared", plan: "Plan") -> "Ending":
    """Train to an ending, or save the last complete step of a run that fails outside of an update."""
    from runner.loop.plan import save
    from runner.loop.train import train
    from runner.wiring.build.debug import watched

    rolls_back = run.config["on_nonfinite"] == "rollback"
    if run.start.parent or (rolls_back and run.start.changes):
        save(run.state, plan)  # so that what follows begins with these settings: a run of its own, or a rollback
    try:
        with watched(plan, run.config, run.start.directory, run.state.progress.global_step) as plan_watched:
            return train(run.state, plan_watched)
    except BaseException as error:
        _rescue(run, plan, error)
        raise


def _rescue(run: "Prepared", plan: "Plan", failure: BaseException) -> None:
    """Save the last complete step, if it is worth it, and see it safe; the failure stays the one reported."""
    from runner.errors import NonFinite
    from runner.loop.plan import save

    try:
        plan.saving.settle()
    except Exception as former:  # that an earlier step could not be saved says nothing of this one
        log.warning("and a former step could not be saved: %s", former)
    if not isinstance(failure, Exception) or not run.state.whole or isinstance(failure, NonFinite):
        return
    try:
        save(run.state, plan)
        plan.saving.settle()
    except Exception as second:  # a broken device fails again here
        log.warning("and the last step could not be saved: %s", second)


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _test(run: "Prepared", stop: Stop, ending: "Ending") -> tuple["Ending", dict[str, float] | None]:
    """Return the best checkpoint's metrics on the test split, which training never sees; None without either.

    A stop before they are complete makes the ending an interruption: a resume has only them left to do.
    """
    from runner.commands.checkpointed import Subject
    from runner.commands.evaluate import measure
    from runner.loop.plan import Ending

    best = run.start.directory / "best.tar"
    test = getattr(run.problem.data, "test", None)
    if ending is Ending.interrupted or test is None or not best.is_file():
        return ending, None
    subject = Subject(best, run.state.models, run.problem.learner, test, run.config, run.strategy, run.problem.trust)
    metrics = measure(subject, stop.requested)
    return (Ending.interrupted if metrics is None else ending), metrics
