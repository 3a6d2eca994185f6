"""What a cluster runs for a job: the run's command line, in its own process that a signal can stop."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runner.exit_codes import INTERRUPTED
from runner.files import replace_text
from runner.signals import ask_group_to_stop, kill_group, pass_on_sigterm, signal_name
from runner.small_files import read_entries

ENTRY = "runner.commands.sweep.cluster_job"
_LONGEST_GRACE = 300.0  # seconds
_PAUSE = 0.2
_NOTES = {"folder": str, "cluster": str, "job": str, "pid": int, "code": int, "stopped": bool}


@dataclass
class Attempt:
    """A submission of a job; it starts again each time the cluster requeues it.

    It runs only while the job's record names its folder: a submission that the sweep gave up or replaced does nothing.
    """

    argv: Sequence[str]
    """`run.py` and its overrides."""
    log: str
    directory: str
    """The run's current directory."""
    record: str
    folder: str
    _pid: int | None = None

    def __call__(self) -> int:
        """Run the job, and return its exit code, negative for a signal."""
        if read_notes(Path(self.record)).get("folder") != self.folder:
            return INTERRUPTED
        with open(self.log, "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", ENTRY, *self.argv],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Slurm signals the whole group; only this process passes it on
            )
        self._pid = process.pid
        asked = pass_on_sigterm(process.pid)
        self._note(pid=process.pid, job=_job_id())
        _await(process.pid)
        kill_group(process.pid)  # loader workers left behind
        code = process.wait()
        if asked() and (code == INTERRUPTED or signal_name(-code) == "SIGTERM"):  # SIGTERM: it had no handler yet
            self._linger(asked)
        self._note(code=code)
        return code

    def checkpoint(self) -> Any:
        """Stop the run, and return what to requeue; submitit calls this before a time limit or a preemption.

        https://github.com/facebookincubator/submitit/blob/main/docs/checkpointing.md
        """
        from submitit.helpers import DelayedSubmission

        if self._pid is not None:
            ask_group_to_stop(self._pid)
            code = _await(self._pid)
            if code is not None and code >= 0 and code != INTERRUPTED:  # it just finished, or failed
                self._note(code=code)
                return None
            self._note(stopped=True)
        return DelayedSubmission(replace(self, _pid=None))

    def _linger(self, asked: Callable[[], int]) -> None:
        """Wait for the cluster to cancel or requeue the job; exiting would settle that.

        A preemption begins with SIGTERM, as a cancellation does; a second SIGTERM ends the wait.
        """
        self._note(stopped=True)
        until = time.monotonic() + _LONGEST_GRACE
        while asked() < 2 and time.monotonic() < until:
            time.sleep(_PAUSE)
        raise SystemExit(INTERRUPTED)

    def _note(self, **entries: Any) -> None:
        replace_text(state_file(self.folder), json.dumps(entries))


def state_file(folder: str) -> Path:
    """Return the path of an attempt's state: `pid` and `job`, then `stopped`, or `code` at the end."""
    return Path(folder) / "state.json"


def read_notes(path: Path) -> Mapping[str, Any]:
    """Return the valid entries of an attempt's state or a job's record, empty if there is no such file."""
    with suppress(OSError, ValueError):
        return {key: value for key, value in read_entries(path).items() if type(value) is _NOTES.get(key)}
    return {}


def _job_id() -> str:
    import submitit

    return submitit.JobEnvironment().job_id


def _await(pid: int) -> int | None:
    """Wait for a child and return its exit code without reaping it; None if it is reaped already.

    Takes no lock, so that a signal can interrupt it and call it again.
    """
    try:
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    except ChildProcessError:
        return None
    assert ended is not None
    return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
