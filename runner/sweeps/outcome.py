"""How a job ended, by its exit code and its own `status.json`."""

import time

from runner.exit_codes import INTERRUPTED
from runner.run_directory.ownership import is_owned
from runner.run_directory.status import Status, put_failure, read_status
from runner.signals import signal_name
from runner.sweeps.jobs import Job

_PAUSE = 0.1  # seconds between two looks
_DYING = 5.0  # seconds for a lost job to die with its parent
_LONGEST = 200  # characters of a reason
_CLAIMED = {0: "finished", INTERRUPTED: "interrupted"}


def verdict(job: Job, code: int, former: Status | None, *, asked: bool, lag: float) -> tuple[int, str]:
    """Return the code that counts, and the reason of a failure, else "".

    A success needs `finished` in `status.json`; a stop must be `asked` for or recorded there, else it is a failure.
    `former` is the status before the job started; `lag` is the delay in seconds before this host sees a job's files.
    """
    if signal_name(-code) == "SIGTERM" or (code == INTERRUPTED and asked):  # SIGTERM: before the job handled signals
        return INTERRUPTED, ""
    status = _status(job, _CLAIMED.get(code), lag)
    if status is not None and status.state == "finished":
        return 0, ""
    if code == INTERRUPTED and status is not None and status.state == "interrupted" and status.reason:
        return INTERRUPTED, ""
    own = status.reason if status is not None and status.state == "failed" and status != former else None
    return (1 if code in _CLAIMED else code), own[:_LONGEST] if own else _reason(job, code)


def put_on_record(job: Job, reason: str) -> None:
    """Record the failure in the job's `status.json` if the job could not: after a kill, for example."""
    until = time.monotonic() + _DYING
    while is_owned(job.directory) and time.monotonic() < until:
        time.sleep(_PAUSE)
    status = read_status(job.directory)
    if status is None or status.state != "failed" or not (status.reason or "").startswith(reason):
        put_failure(job.directory, reason)


def _status(job: Job, claimed: str | None, lag: float) -> Status | None:
    """Return the status of a job that has ended, waiting until it matches the exit code, at most `lag` seconds."""
    until = time.monotonic() + (lag if claimed else 0.0)
    while (status := read_status(job.directory)) is None or status.state != claimed:
        if time.monotonic() >= until:
            break
        time.sleep(_PAUSE)
    return status


def _reason(job: Job, code: int) -> str:
    if code < 0:
        return f"killed by {signal_name(-code)}"
    last = f"; its log ends with {said[-1].strip()[:_LONGEST]!r}" if (said := job.said()) else ""
    if code == 0:
        return f"it exited with code 0 before the run finished{last}"
    if code == INTERRUPTED:
        return f"it exited with code {INTERRUPTED} although nothing stopped it{last}"
    return f"exit code {code}{last}"
