"""A job of a sweep may be several processes, which torchrun starts."""

import json
import os
import signal
from pathlib import Path

import pytest

from tests.support.command_line import SMALL
from tests.support.processes import finish, run, start, until

SWEEP = ("-m", *SMALL, "hydra.launcher.processes=2", "tracker=csv", "name=s")


@pytest.mark.slow
def test_a_sweep_of_jobs_of_two_processes_is_stopped_and_goes_on(work: Path) -> None:
    process = start(work, *SWEEP, "seed=0,1", "max_steps=200000", "epochs=null", "checkpoint.every_steps=100")
    until(lambda: list(work.glob("outputs/s/*/checkpoints/*.tar")), process)
    os.killpg(process.pid, signal.SIGTERM)
    code, text = finish(process)
    assert code == 75, text
    states = {path.parent.name: json.loads(path.read_text()) for path in work.glob("outputs/s/*/status.json")}
    assert [status["state"] for status in states.values()] == ["interrupted"], text
    assert (work / "outputs/s" / next(iter(states)) / "logs/rank_1.log").is_file()


@pytest.mark.slow
def test_finished_jobs_are_skipped_and_a_failed_one_is_told(work: Path) -> None:
    ended = run(work, *SWEEP, "optimizer.lr=0.1,1e30", "epochs=2", "on_nonfinite=stop")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "became" in ended.stdout and "optimizer.lr-0.1" in (work / "outputs/s/results.csv").read_text()
    again = run(work, *SWEEP, "optimizer.lr=0.1", "epochs=2", "hydra.launcher.preview=true")
    assert again.returncode == 0 and "finished" in again.stdout, again.stdout
