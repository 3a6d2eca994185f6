"""One attempt of a run, from its first log line to its exit code; `status.json` is accurate throughout."""

import logging
import sys

from runner.errors import ProcessFailed
from runner.exit_codes import FINISHED
from runner.loop.plan import Ending
from runner.loop.wishes import Wishes
from runner.run import messages
from runner.run.failures import log_failure
from runner.run.measuring import Subject, measure
from runner.run.rank_log import logged
from runner.run.record import StatusWriter, attempt_of, record
from runner.run.rollback import train_to_an_ending
from runner.run_directory.environment import describe_environment, summary
from runner.run_directory.status import EARLY_STOPPING, read_status
from runner.signals import Stop, parse_duration
from runner.text import error_line
from runner.wiring.build.loaders import loading_of
from runner.wiring.starts.prepare import Prepared

log = logging.getLogger("runner")

Metrics = dict[str, float]


def live(run: Prepared) -> int:
    """Train, test, keep `status.json` accurate, and return the exit code; in the main process.

    Raises:
        BaseException: an interruption, such as KeyboardInterrupt; failures of the run become an exit code.
    """
    former = read_status(run.start.directory)
    attempt = attempt_of(run, 0 if former is None else former.attempt)
    environment = describe_environment(sys.argv, str(run.devices))
    status = StatusWriter(run, attempt.attempt)
    with Stop(parse_duration(run.config.max_time)) as stop:
        try:
            record(run, attempt, environment)
            status("running", None)
            messages.announce(run)
            token = run.strategy.processes.once(lambda: attempt.token)
            ending = train_to_an_ending(run, stop, {**summary(environment), "attempt": token}, status.saved)
            ending, metrics = _test(run, stop, ending)
        except BaseException as error:
            failed = isinstance(error, (Exception, SystemExit))  # sys.exit in the user's code is a failure
            error = _first_failure(run, error)
            reason = str(error) if isinstance(error, ProcessFailed) else error_line(error)
            status("failed" if failed else "interrupted", reason)
            if not failed:
                raise
            return log_failure(error)
        return _end(run, ending, stop.requested(), status, metrics)


def follow(run: Prepared) -> int:
    """Train and test beside the main process, and return the exit code; its log is `logs/rank_N.log`."""
    with Stop(parse_duration(run.config.max_time)) as stop, logged(run):
        try:
            token = run.strategy.processes.once(lambda: "")
            ending = train_to_an_ending(run, stop, {"attempt": token}, lambda best: None)
            ending, _ = _test(run, stop, ending)
        except (Exception, SystemExit) as error:
            run.strategy.processes.tell(error_line(error))
            return log_failure(error)
    if ending is not Ending.interrupted:
        return FINISHED
    return messages.left(run, str(stop.requested()))


def _first_failure(run: Prepared, error: BaseException) -> BaseException:
    """Return the failure that another process has told, or shows, if this one is only its consequence."""
    processes = run.strategy.processes
    if not isinstance(error, ProcessFailed):
        processes.tell(error_line(error))
        return error
    first = processes.failure()
    return error if first is None else ProcessFailed(first)


def _test(run: Prepared, stop: Stop, ending: Ending) -> tuple[Ending, Metrics | None]:
    """Return the ending, and the best checkpoint's metrics on the test split; None without a checkpoint or a split.

    A stop during the test makes the ending an interruption; a resume then only repeats the test.
    """
    best, processes = run.start.directory / "best.tar", run.strategy.processes
    test = getattr(run.problem.data, "test", None)
    if ending is Ending.interrupted or test is None or not processes.once(best.exists):
        return ending, None
    loading = loading_of(run.config, run.problem.data, run.devices.kind, processes)
    made = run.state.models, run.problem.learner, test, loading
    subject = Subject(best, *made, run.config, run.strategy, run.problem.trust)
    metrics = measure(subject, Wishes(processes, stop).stop)
    return (Ending.interrupted if metrics is None else ending), metrics


def _end(run: Prepared, ending: Ending, reason: str | None, status: StatusWriter, metrics: Metrics | None) -> int:
    """Record and log the ending, and return the exit code; signals are still deferred."""
    if ending is Ending.interrupted:
        status("interrupted", reason)
        return messages.leave(run, str(reason))
    status("finished", None if ending is Ending.finished else EARLY_STOPPING, metrics)
    log.info("%s: %s", "finished" if ending is Ending.finished else "stopped early", messages.summary(run, status.best))
    if metrics is not None:
        log.info("best.tar on test: %s", "  ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
    return FINISHED
