"""Write the records of a run beside its checkpoints: status, config, attempt, environment."""

import json
import logging
import os
import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runner.checkpoint.policies import Saved
from runner.files import replace_text
from runner.run_directory.attempts import Attempt, new_token, next_number, write_attempt
from runner.run_directory.ownership import Tenure
from runner.run_directory.status import Status, write_status
from runner.strategy.processes import job_token
from runner.wiring.build.identity import IDENTITY
from runner.wiring.starts.prepare import Prepared
from runner.wiring.starts.start import Origin

log = logging.getLogger("runner")


class StatusWriter:
    """Writes `status.json` from the present state."""

    def __init__(self, run: Prepared, attempt: int) -> None:
        self._run, self._attempt = run, attempt
        self._started = _now()
        progress = run.state.progress
        self.best = _pair(progress.best_metric, progress.best_step) if run.start.parent is None else None
        """The best metric and its step, those of `best.tar` if there are checkpoints."""
        self._tenure = Tenure(run.start.directory)

    def saved(self, best: Saved | None) -> None:
        """Write that the run is running, with this best checkpoint."""
        self.best = _pair(best.metric, best.step) if best else None
        self("running", None)

    def __call__(self, state: str, reason: str | None, test: Mapping[str, float] | None = None) -> None:
        """Write the status; a failed write is only a warning, since the run's own failure is what to report."""
        try:
            self._write(state, reason, test)
        except OSError as error:
            log.warning("status.json could not be written: %s", error)

    def _write(self, state: str, reason: str | None, test: Mapping[str, float] | None) -> None:
        self._tenure.check()
        progress = self._run.state.progress
        if not self._run.config.saves:
            self.best = _pair(progress.best_metric, progress.best_step)
        status = Status(
            state=state,
            step=progress.global_step,
            epoch=progress.epoch,
            attempt=self._attempt,
            reason=reason,
            best_metric=self.best[0] if self.best else None,
            monitor=self._run.config.checkpoint.monitor,
            pid=os.getpid(),
            host=platform.node(),
            started=self._started,
            updated=_now(),
            test=test,
            job=job_token(),
        )
        write_status(self._run.start.directory, status)


def _pair(metric: float | None, step: int | None) -> tuple[float, int] | None:
    return None if metric is None or step is None else (metric, step)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def attempt_of(run: Prepared, former: int) -> Attempt:
    """Return the record of this attempt, numbered after the `former` one."""
    start = run.start
    return Attempt(
        attempt=next_number(start.directory, former),
        token=new_token(),
        started=_now(),
        step=run.state.progress.global_step,
        checkpoint=start.standing.at.path.name if start.standing and start.origin is Origin.resume else None,
        overrides=[text.encode(errors="backslashreplace").decode() for text in sys.argv[1:]],
        config=run.config_text.split("\n"),
    )


def record(run: Prepared, attempt: Attempt, environment: dict[str, Any]) -> None:
    """Write the config that the run was started with, and durably the record of this attempt."""
    directory = run.start.directory
    first = directory / "config.yaml"
    if not first.exists() or run.start.origin is Origin.scratch:
        replace_text(first, "\n".join(attempt.config))
    write_attempt(directory, attempt)
    write_json(directory / "environment.json", {**environment, IDENTITY: run.identity})
    if run.reports:
        reports = {name: report.entries() for name, report in run.reports.items()}
        write_json(directory / "warm_start.json", {"path": run.config.warm_start.path, "models": reports})
    if run.start.parent:
        counters = {"epoch": run.state.progress.epoch, "global_step": run.state.progress.global_step}
        write_json(directory / "parent.json", {"checkpoint": str(run.start.parent), **counters})


def write_json(path: Path, entries: Mapping[str, Any]) -> None:
    """Write entries to a JSON file, atomically."""
    replace_text(path, json.dumps(entries, indent=2) + "\n")
