"""What a cluster runs for a job: the command line of a run, as a process of its own that a signal can stop."""

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
from runner.records import read_entries
from runner.signals import ask_group_to_stop, kill_group, pass_on_sigterm, signal_name

ENTRY = "runner.commands.sweep.cluster_job"
_LONGEST_GRACE = 300.0  # seconds
_PAUSE = 0.2
_NOTES = {"folder": str, "cluster": str, "job": str, "pid": int, "code": int, "stopped": bool}


@dataclass
class Attempt:
    """A submission of a job; it may begin many times, whenever the cluster has queued it again.

    It runs only as long as the job's record names its folder: what the sweep has given up, or lost sight of and
    submitted again, does nothing when its turn comes.
    """

    argv: Sequence[str]
    """`run.py` and its words."""
    log: str
    directory: str
    """The current directory of the run."""
    record: str
    folder: str
    _pid: int | None = None

    def __call__(self) -> int:
        """Run until the end, and return the exit code, negative for a signal."""
        if read_notes(Path(self.record)).get("folder") != self.folder:
            return INTERRUPTED
        with open(self.log, "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", ENTRY, *self.argv],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Slurm signals the group of this process, and only this one passes it on
            )
        self._pid = process.pid
        asked = pass_on_sigterm(process.pid)
        self._note(pid=process.pid, job=_job_id())
        _await(process.pid)
        kill_group(process.pid)  # loader workers that it may have left behind
        code = process.wait()
        if asked() and (code == INTERRUPTED or signal_name(-code) == "SIGTERM"):  # by the latter before it listened
            self._linger(asked)
        self._note(code=code)
        return code

    def checkpoint(self) -> Any:
        """Stop, and return what is to be submitted again: submitit's call before a limit of time or a preemption.

        https://github.com/facebookincubator/submitit/blob/main/docs/checkpointing.md
        """
        from submitit.helpers import DelayedSubmission

        if self._pid is not None:
            ask_group_to_stop(self._pid)
            code = _await(self._pid)
            if code is not None and code >= 0 and code != INTERRUPTED:  # finished just now, or failed
                self._note(code=code)
                return None
            self._note(stopped=True)
        return DelayedSubmission(replace(self, _pid=None))

    def _linger(self, asked: Callable[[], int]) -> None:
        """Leave it to the cluster whether the job is cancelled or queued again, which its end would settle.

        A preemption begins with SIGTERM, as a cancellation does; whoever wants the end itself says it twice.
        """
        self._note(stopped=True)
        until = time.monotonic() + _LONGEST_GRACE
        while asked() < 2 and time.monotonic() < until:
            time.sleep(_PAUSE)
        raise SystemExit(INTERRUPTED)

    def _note(self, **entries: Any) -> None:
        replace_text(state_file(self.folder), json.dumps(entries))


def state_file(folder: str) -> Path:
    """Return where an attempt says how it stands: `pid` and `job`, then `stopped` or, at the end, `code`."""
    return Path(folder) / "state.json"


def read_notes(path: Path) -> Mapping[str, Any]:
    """Return what was noted of an attempt, without what is no such note; nothing if there is none to read."""
    with suppress(OSError, ValueError):
        return {key: value for key, value in read_entries(path).items() if type(value) is _NOTES.get(key)}
    return {}


def _job_id() -> str:
    import submitit

    return submitit.JobEnvironment().job_id


def _await(pid: int) -> int | None:
    """Return the exit code of a child once it has ended, leaving it to be reaped; None if it is reaped already.

    Nothing is locked meanwhile, so that it can be called by what interrupts it.
    """
    try:
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    except ChildProcessError:
        return None
    assert ended is not None
    return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
