"""`python run.py`: prepare everything that can be wrong, then train, and leave a directory that tells the truth."""

import json
import logging
import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import run_job
from hydra.types import HydraContext
from omegaconf import OmegaConf

from runner.commands.main import FAILED, FINISHED, INTERRUPTED, log_failure, to_plain
from runner.files import replace_text
from runner.run_directory.claim import claim
from runner.run_directory.environment import describe_environment, summary
from runner.run_directory.status import Status, read_status, write_status
from runner.signals import Stop, die_by_sigint, parse_duration
from runner.wiring.arguments import command
from runner.wiring.changes import table
from runner.wiring.compose import without_hydra
from runner.wiring.start import Origin, Start, choose_start

log = logging.getLogger("runner")


def train_command(words: Sequence[str], searchpath: Sequence[str]) -> int:
    """Train as the words say and return the exit code; whatever is wrong is raised before anything is made."""
    start = choose_start(words, searchpath)
    if start.finished:
        print(f"{start.directory} is finished already; to go on, raise its length with {start.limit}=...")
        return FINISHED
    prepared = prepare(start)
    if start.origin is not Origin.resume and not start.directory.exists():
        claim(start.directory)
    config = start.config
    loader = GlobalHydra.instance().config_loader()
    context = HydraContext(config_loader=loader, callbacks=Callbacks(config))
    job = run_job(
        task_function=lambda _: run_prepared(prepared),
        config=config,
        job_dir_key="hydra.run.dir",
        job_subdir_key=None,
        hydra_context=context,
    )
    code = job.return_value
    assert isinstance(code, int)
    return code


@dataclass(frozen=True)
class Prepared:
    """A run that is ready: everything was built and, on a resume, restored."""

    start: Start
    config: dict[str, Any]
    problem: Any
    state: Any
    strategy: Any
    devices: Any
    train_loader: Any
    val_loader: Any
    horizon: Any
    max_seconds: float | None
    reports: Mapping[str, Any]
    """What a warm start loaded, by model."""
    again: Sequence[str]
    """The words that a later attempt has to repeat."""


def prepare(start: Start) -> Prepared:
    """Build the objects of a run and restore them, writing nothing.

    Raises:
        RunnerError: whatever is wrong with the config, the data, the device or the checkpoint.
    """
    config = to_plain(start.config)
    max_seconds = parse_duration(config["max_time"])
    from runner.wiring import build, debugging, restoring

    trust = build.trust_of(start.typed_targets, config["trust"])
    strategy, devices = build.choose_strategy(config, start.pinned or {})
    problem = build.build_problem(config, trust)
    problem = replace(problem, data=debugging.limited(problem.data, config))
    train_loader, val_loader = build.loaders(config, problem.data)
    horizon = build.horizon_of(config, train_loader.steps_per_epoch)
    restoring.check_monitor(config, problem.learner)
    reports, entries = restoring.prepare_models(problem.models, start, config)
    state = build.build_state(config, problem, strategy, train_loader, horizon)
    start = restoring.restore_state(state, entries, start, config, horizon)
    again = [*start.again, *build.trust_words(config)]
    return Prepared(
        start, config, problem, state, strategy, devices, train_loader, val_loader, horizon, max_seconds, reports, again
    )


def run_prepared(run: Prepared) -> int:
    """Train, keep `status.json` true, and return the exit code."""
    from runner.loop.plan import Ending, save
    from runner.loop.train import train
    from runner.wiring.debugging import watched
    from runner.wiring.plan import make_plan

    directory = run.start.directory
    former = read_status(directory)
    attempt = 1 if former is None else former.attempt + 1
    environment = describe_environment(sys.argv, str(run.devices))
    _record(run, attempt, environment)
    record = _StatusWriter(run, attempt)
    with Stop(run.max_seconds) as stop:
        plan = make_plan(run, stop, summary(environment), record)
        record("running", None)
        _announce(run)
        try:
            if run.start.parent or (run.start.changes and run.state.progress.global_step):
                save(run.state, plan)  # so that from here on a bare resume goes on with this config
            with watched(plan, run.config, directory, run.state.progress.global_step) as plan_watched:
                ending = train(run.state, plan_watched)
        except BaseException as error:
            if isinstance(error, Exception) and run.state.whole and not isinstance(error, ArithmeticError):
                _save_after(error, lambda: save(run.state, plan))
            failed = isinstance(error, (Exception, SystemExit))  # sys.exit in the user's code is no success
            record("failed" if failed else "interrupted", _reason(error))
            if not failed:
                raise
            return log_failure(error)
        finally:
            plan.trackers.close()
        reason = stop.requested()
    if ending is Ending.interrupted:
        record("interrupted", reason)
        return _leave(run, str(reason))
    record("finished", None if ending is Ending.finished else "early stopping")
    log.info("%s: %s", "finished" if ending is Ending.finished else "stopped early", _summary(run))
    _report_test(run)
    return FINISHED


def _save_after(error: Exception, save: Any) -> None:
    """Save the last complete step of a run that fails outside of an update; the failure stays the one reported."""
    try:
        save()
    except Exception as second:  # a broken device fails again here, and its first failure is the one to report
        log.warning("and the last step could not be saved: %s", second)


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


class _StatusWriter:
    """Writes `status.json` from the state as it is now."""

    def __init__(self, run: Prepared, attempt: int) -> None:
        self._run, self._attempt = run, attempt
        self._started = _now()

    def __call__(self, state: str, reason: str | None) -> None:
        try:
            self._write(state, reason)
        except OSError as error:  # a full disk: what failed because of it is what has to be reported
            log.warning("status.json could not be written: %s", error)

    def _write(self, state: str, reason: str | None) -> None:
        progress = self._run.state.progress
        status = Status(
            state=state,
            step=progress.global_step,
            epoch=progress.epoch,
            attempt=self._attempt,
            reason=reason,
            best_metric=progress.best_metric,
            pid=os.getpid(),
            host=platform.node(),
            started=self._started,
            updated=_now(),
        )
        write_status(self._run.start.directory, status)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _record(run: Prepared, attempt: int, environment: dict[str, Any]) -> None:
    """Write what the run was started with, and what this attempt was told."""
    directory = run.start.directory
    first = directory / "config.yaml"
    if not first.exists():
        replace_text(first, OmegaConf.to_yaml(without_hydra(run.start.config)))
    (directory / "overrides").mkdir(exist_ok=True)
    words = "".join(f"{word}\n" for word in sys.argv[1:])
    replace_text(directory / "overrides" / f"attempt_{attempt:04d}.txt", words)
    _write_json(directory / "environment.json", environment)
    if run.reports:
        reports = {name: report.entries() for name, report in run.reports.items()}
        _write_json(directory / "warm_start.json", {"path": run.config["warm_start"]["path"], "models": reports})
    if run.start.parent:
        counters = {"epoch": run.state.progress.epoch, "global_step": run.state.progress.global_step}
        _write_json(directory / "parent.json", {"checkpoint": str(run.start.parent), **counters})


def _write_json(path: Path, entries: Mapping[str, Any]) -> None:
    replace_text(path, json.dumps(entries, indent=2) + "\n")


def _announce(run: Prepared) -> None:
    start, progress = run.start, run.state.progress
    for notice in start.notices:
        log.warning("%s", notice)
    place, where = f"on {run.devices} ({run.strategy.name})", f"epoch {progress.epoch}, step {progress.global_step}"
    if start.origin is Origin.resume and start.checkpoint:
        parts = ", ".join(run.state.parts())
        log.info("resuming %s from %s at %s: restored %s", start.directory, start.checkpoint.name, where, parts)
    elif start.parent:
        log.info("starting %s as a fork of %s at %s %s", start.directory, start.parent, where, place)
    elif run.reports:
        log.info("starting %s warm from %s %s", start.directory, run.config["warm_start"]["path"], place)
    else:
        log.info("starting %s from scratch %s", start.directory, place)
    for name, report in run.reports.items():
        log.info("%s: %s", name, "\n    ".join(report.lines()))
    if run.again and start.origin is not Origin.resume:
        log.info("a later resume of this run has to repeat: %s", shlex.join(run.again))
    if start.changes:
        log.info("%s", table(start.changes))
    if run.strategy.name == "data_parallel":
        log.info("DataParallel over %s; take one device with device.index=0", run.devices)


def _leave(run: Prepared, reason: str) -> int:
    """Say how to go on, as the last line, and leave in the way that the signal asks for."""
    if run.config["checkpoint"].get("keep_last") is None:
        log.error("stopped by %s with checkpoint=off: this run cannot be continued", reason)
        code = FAILED
    else:
        log.info("stopped by %s at step %d; go on with:", reason, run.state.progress.global_step)
        log.info("%s", command(f"resume={run.start.directory / 'last.tar'}", *run.again))
        code = INTERRUPTED
    if reason == "SIGINT":
        logging.shutdown()
        die_by_sigint()
    return code


def _summary(run: Prepared) -> str:
    progress, monitor = run.state.progress, run.config["checkpoint"]["monitor"]
    best = (
        ""
        if progress.best_metric is None
        else f", best {monitor} {progress.best_metric:.4f} at step {progress.best_step}"
    )
    return f"{run.start.directory}, {progress.epoch} epochs, {progress.global_step} steps{best}"


def _report_test(run: Prepared) -> None:
    """Report the best checkpoint on the test split, which training never sees."""
    best = run.start.directory / "best.tar"
    test = getattr(run.problem.data, "test", None)
    if test is None or not best.is_file():
        return
    from runner.commands.checkpointed import Subject
    from runner.commands.evaluate import measure

    metrics = measure(Subject(best, run.state.models, run.problem.learner, test, run.config, run.strategy))
    log.info("best.tar on test: %s", "  ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
