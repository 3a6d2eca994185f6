"""What a run leaves about itself beside its checkpoints: how it stands, what it was told, where it ran."""

import json
import logging
import os
import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runner.files import replace_text
from runner.run_directory.ownership import Tenure
from runner.run_directory.status import Status, write_status
from runner.wiring.prepare import Prepared
from runner.wiring.start import Origin

log = logging.getLogger("runner")


class StatusWriter:
    """Writes `status.json` from the state as it is now."""

    def __init__(self, run: Prepared, attempt: int) -> None:
        self._run, self._attempt = run, attempt
        self._started = _now()
        self._tenure = Tenure(run.start.directory)

    def __call__(self, state: str, reason: str | None, test: Mapping[str, float] | None = None) -> None:
        """Write it; a disk that takes nothing is a warning, for what failed because of it is what to report."""
        try:
            self._write(state, reason, test)
        except OSError as error:
            log.warning("status.json could not be written: %s", error)

    def _write(self, state: str, reason: str | None, test: Mapping[str, float] | None) -> None:
        self._tenure.check()
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
            test=test,
        )
        write_status(self._run.start.directory, status)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def record(run: Prepared, attempt: int, environment: dict[str, Any]) -> None:
    """Write what the run was started with, and what this attempt was told."""
    directory = run.start.directory
    first = directory / "config.yaml"
    if not first.exists() or run.start.origin is Origin.scratch:
        replace_text(first, run.config_text)
    (directory / "overrides").mkdir(exist_ok=True)
    words = "".join(f"{word}\n" for word in sys.argv[1:])
    replace_text(directory / "overrides" / f"attempt_{attempt:04d}.txt", words)
    write_json(directory / "environment.json", environment)
    if run.reports:
        reports = {name: report.entries() for name, report in run.reports.items()}
        write_json(directory / "warm_start.json", {"path": run.config["warm_start"]["path"], "models": reports})
    if run.start.parent:
        counters = {"epoch": run.state.progress.epoch, "global_step": run.state.progress.global_step}
        write_json(directory / "parent.json", {"checkpoint": str(run.start.parent), **counters})


def write_json(path: Path, entries: Mapping[str, Any]) -> None:
    """Make a file of the run directory hold these entries, in one step."""
    replace_text(path, json.dumps(entries, indent=2) + "\n")
