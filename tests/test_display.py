"""The lines of jobs at work on a terminal."""

import time
from pathlib import Path

import pytest

from runner.sweeps.display import Live
from runner.sweeps.jobs import Job
from runner.sweeps.schedule import Running


@pytest.mark.parametrize(("jobs", "last"), [(3, "job2  "), (40, "and 32 more")])
def test_no_more_jobs_are_shown_than_the_terminal_can_draw_anew(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, jobs: int, last: str
) -> None:
    monkeypatch.setenv("LINES", "10")
    monkeypatch.setenv("COLUMNS", "80")
    running = [Running(Job(tmp_path / f"job{n}", ()), n, 1, time.monotonic(), at_work=True) for n in range(jobs)]
    Live(jobs).look(running)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == min(jobs, 9) and lines[-1].strip().startswith(last)
