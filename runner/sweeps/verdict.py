"""How a job ended: what its exit code says, and what it has put on record itself."""

import time

from runner.exit_codes import INTERRUPTED
from runner.run_directory.ownership import is_owned
from runner.run_directory.status import Status, put_failure, read_status
from runner.signals import signal_name
from runner.sweeps.jobs import Job

_PAUSE = 0.1  # seconds between two looks
_DYING = 5.0  # seconds that a lost job may take to die with what it was started by
_LONGEST = 200  # characters of a reason
_CLAIMED = {0: "finished", INTERRUPTED: "interrupted"}


def verdict(job: Job, code: int, former: Status | None, *, asked: bool, lag: float) -> tuple[int, str]:
    """Return the code that counts, and the reason of a failure, empty if it is none.

    Only `finished` in `status.json` is a success, and only a stop that was `asked` for, or that the run has put on
    record, is none. `former` is the status from before the job was started; `lag` is how many seconds a file of a
    job may take until it is seen here.
    """
    if signal_name(-code) == "SIGTERM" or (code == INTERRUPTED and asked):  # the former before it listened
        return INTERRUPTED, ""
    status = _status(job, _CLAIMED.get(code), lag)
    if status is not None and status.state == "finished":
        return 0, ""
    if code == INTERRUPTED and status is not None and status.state == "interrupted" and status.reason:
        return INTERRUPTED, ""
    own = status.reason if status is not None and status.state == "failed" and status != former else None
    return (1 if code in _CLAIMED else code), own[:_LONGEST] if own else _reason(job, code)


def put_on_record(job: Job, reason: str) -> None:
    """Have the job's own record say that it failed, if it could not do so itself: it was killed, say."""
    until = time.monotonic() + _DYING
    while is_owned(job.directory) and time.monotonic() < until:
        time.sleep(_PAUSE)
    status = read_status(job.directory)
    if status is None or status.state != "failed" or not (status.reason or "").startswith(reason):
        put_failure(job.directory, reason)


def _status(job: Job, claimed: str | None, lag: float) -> Status | None:
    """Return the status of a job that has ended, once it is what the exit code claims."""
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
        return f"it ended with exit code 0 before it was finished{last}"
    if code == INTERRUPTED:
        return f"it ended with exit code {INTERRUPTED}, though nothing had stopped it{last}"
    return f"exit code {code}{last}"
