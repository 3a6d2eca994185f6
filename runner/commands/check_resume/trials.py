"""The runs that `task=check_resume` compares: real processes, one of them killed."""

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.checkpoint.listing import checkpoint_path
from runner.errors import RunnerError
from runner.signals import kill_group
from runner.wiring.overrides.arguments import parse

EPOCH, STOP, STEPS = 3, 4, 7  # batches per epoch; the step to resume from, amid the second epoch; the last step

# Short epochs, each evaluated; a row and a checkpoint every step; the checkpoints to compare are kept.
_SHORT = (
    "epochs=null", f"max_steps={STEPS}", "max_samples=null", "max_tokens=null", "max_time=null", "eval_every=null",
    "log_every=1", "early_stopping.patience=null", "early_stopping.threshold=null", "tracker=csv", "debug=none",
    f"debug.limit_train={EPOCH}", "debug.limit_eval=2", "checkpoint=every_n_steps", "checkpoint.every_steps=1",
    "checkpoint.every_epochs=null", "checkpoint.every_minutes=null", f"checkpoint.keep_last={STEPS - STOP}",
    "checkpoint.keep_best=1", f"checkpoint.keep_every={STOP}",
)  # fmt: skip
_NOT_THEIRS = ("task", "name", "resume_allow", "rewind", "output", "source", "checkpoint_path")


class TrialFailed(RunnerError, RuntimeError):
    """One of the runs failed."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def shortened(overrides: Sequence[str]) -> list[str]:
    """Return the user's overrides, changed to a run of a few steps."""
    ours = {override.key_or_group for override in parse(_SHORT)}
    kept = []
    for override in parse(overrides):
        key = override.key_or_group
        if key not in ours and key not in _NOT_THEIRS and key.split(".")[0] not in ("debug", "tracker"):
            kept.append(str(override.input_line))
    return [*kept, *_SHORT]


@dataclass(frozen=True)
class Trials:
    """Starts runs with the same overrides, each in its own directory in `folder`."""

    folder: Path
    overrides: Sequence[str]
    flags: Sequence[str]

    def whole(self, name: str) -> Path:
        """Train without interruption; return the run directory."""
        self._finish(name, self._start(name, f"name={self.folder.name}/{name}"))
        return self.folder / name

    def killed(self, name: str) -> Path:
        """Train, kill all processes of the run after the checkpoint of step STOP, and return its directory."""
        run = self.folder / name
        process = self._start(name, f"name={self.folder.name}/{name}")
        try:
            while process.poll() is None and not checkpoint_path(run, STOP).exists():
                time.sleep(0.001)
        finally:
            kill_group(process.pid)
        process.wait()
        if not checkpoint_path(run, STOP).exists():
            raise self._failed(name, process.returncode)
        return run

    def resumed(self, name: str) -> None:
        """Resume from the checkpoint of step STOP, in a new process."""
        self._finish(name, self._start(name, f"resume={checkpoint_path(self.folder / name, STOP)}", "rewind=true"))

    def _start(self, name: str, *overrides: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, sys.argv[0], *self.flags, *self.overrides, *overrides]
        with open(self._log(name), "ab") as log:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def _finish(self, name: str, process: "subprocess.Popen[bytes]") -> None:
        try:
            code = process.wait()
        finally:
            kill_group(process.pid)
        if code != 0:
            raise self._failed(name, code)

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _failed(self, name: str, code: int) -> TrialFailed:
        lines = self._log(name).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        said = lines[-1].removeprefix("error: ") if lines else "it printed nothing"
        return TrialFailed(f"the run {name!r} of the check ended with {code}: {said}", 2 if code == 2 else 1)
