"""How a job ended: only what is on record as finished is done, and only a real stop is none of the failures."""

import os
import platform
from dataclasses import replace
from pathlib import Path

import pytest

from runner.run_directory.ownership import Ownership
from runner.run_directory.status import Status, read_status, write_status
from runner.sweeps.jobs import Job, Need, need_of
from runner.sweeps.outcome import put_on_record, verdict

STATUS = Status("running", 3, 1, 2, None, 0.5, os.getpid(), platform.node(), "2026-01-01", "2026-01-01")
KILLED = -9


@pytest.fixture
def job(tmp_path: Path) -> Job:
    (tmp_path / "job").mkdir()
    return Job(tmp_path / "job", ["seed=0"])


def left(job: Job, state: str, reason: str | None = None) -> None:
    """Leave what the job's last attempt has put on record."""
    write_status(job.directory, replace(STATUS, state=state, reason=reason))


@pytest.mark.parametrize("code", [0, 1, KILLED])
def test_what_is_on_record_as_finished_is_done(job: Job, code: int) -> None:
    left(job, "finished")
    assert verdict(job, code, None, asked=False, lag=0.0) == (0, "")


@pytest.mark.parametrize("state", ["running", "interrupted", "failed", None])
def test_exit_code_0_alone_is_a_failure(job: Job, state: str | None) -> None:
    if state is not None:
        left(job, state)
    code, reason = verdict(job, 0, read_status(job.directory), asked=False, lag=0.0)
    assert code == 1 and reason == "it exited with code 0 before the run finished"


def test_a_stop_is_one_that_was_asked_for_or_is_on_record_with_its_reason(job: Job) -> None:
    assert verdict(job, 75, None, asked=True, lag=0.0) == (75, "")
    assert verdict(job, -15, None, asked=False, lag=0.0) == (75, "")
    left(job, "running")  # and dead: `os._exit(75)`
    assert verdict(job, 75, None, asked=False, lag=0.0)[0] == 1
    left(job, "interrupted", "SIGTERM")
    assert verdict(job, 75, None, asked=False, lag=0.0) == (75, "")


def test_the_reason_is_the_exception_of_this_attempt_or_the_signal_or_the_end_of_the_log(job: Job) -> None:
    left(job, "failed", "ValueError: of the last time")
    former = read_status(job.directory)
    job.log.parent.mkdir()
    job.log.write_text("step 3\nerror: no such data\n\n")
    assert verdict(job, 2, former, asked=False, lag=0.0) == (2, "exit code 2; its log ends with 'error: no such data'")
    assert verdict(job, KILLED, former, asked=False, lag=0.0) == (KILLED, "killed by SIGKILL")
    left(job, "failed", "RuntimeError: of this time")
    assert verdict(job, 1, former, asked=False, lag=0.0) == (1, "RuntimeError: of this time")


def test_a_record_that_comes_late_from_another_host_is_waited_for(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    left(job, "running")
    monkeypatch.setattr("time.sleep", lambda seconds: left(job, "finished"))
    assert verdict(job, 0, None, asked=False, lag=60.0) == (0, "")


def test_what_died_without_a_word_is_on_record_as_failed_unless_somebody_goes_on_there(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.sweeps.outcome._DYING", 0.2)
    left(job, "running")
    with Ownership() as ownership:
        ownership.take(job.directory)
        put_on_record(job, "killed by SIGKILL")
    assert need_of(job) is Need.more
    put_on_record(job, "killed by SIGKILL")
    status = read_status(job.directory)
    assert status is not None and need_of(job) is Need.again
    assert (status.state, status.reason, status.step, status.attempt) == ("failed", "killed by SIGKILL", 3, 2)
    never = Job(tmp_path / "never", [])
    put_on_record(never, "exit code 2")
    assert need_of(never) is Need.again


def test_what_a_run_has_put_on_record_itself_is_kept(job: Job) -> None:
    left(job, "failed", "ValueError: " + "long " * 50)
    before = (job.directory / "status.json").read_text()
    code, reason = verdict(job, 1, None, asked=False, lag=0.0)
    put_on_record(job, reason)
    assert code == 1 and (job.directory / "status.json").read_text() == before
