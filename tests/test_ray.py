"""The launcher `ray`: the jobs of `local`, placed by Ray, with the same bits; a lost worker costs its own job only."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from runner.errors import ConfigError
from runner.wiring.config.compose import compose_config, hydra_session, register
from runner.wiring.schema.sweeping import Ray
from runner.wiring.search.sweep_options import options_of
from tests.support.command_line import cli
from tests.support.comparing import assert_same_run
from tests.support.processes import finish, start, until

pytest.importorskip("ray", reason='Ray is not installed: python -m pip install -e ".[ray]"')

JOBS = (
    "-m", "model=own", "model._target_=tests.own.jobs.Fragile", "data=own", "batch_size=8",
    "data._target_=tests.own.points.NoisyPoints", "tracker=csv", "device=cpu", "epochs=3",
    "checkpoint=every_n_steps", "checkpoint.every_steps=1", "hydra.launcher.n_jobs=3",
)  # fmt: skip
RAY = "hydra/launcher=ray"


def states(work: Path) -> dict[str, str]:
    """Return how each job of the sweep `s` stands, by its case."""
    jobs = [path for path in (work / "outputs/s").glob("model.case-*/status.json")]
    return {path.parent.name.split("-")[1]: json.loads(path.read_text())["state"] for path in jobs}


def checkpoints(work: Path) -> set[str]:
    """Return the names of those of the job `slow`."""
    return {path.name for path in (work / "outputs/s").glob("model.case-slow-*/checkpoints/step_*.tar")}


def process_of(work: Path, case: str) -> int:
    """Return the number of the process in which a job runs."""
    (status,) = (work / "outputs/s").glob(f"model.case-{case}-*/status.json")
    return int(json.loads(status.read_text())["pid"])


def parent_of(process: int) -> int:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return int(fields[1])


def left_in(session: int) -> list[str]:
    """Return what runs in the session of a sweep: all but its jobs, and Ray's agents, which follow within minutes."""
    answer = subprocess.run(["ps", "-o", "args=", "--sid", str(session)], capture_output=True, text=True)
    return [line for line in answer.stdout.splitlines() if "Agent" not in line and "agent" not in line]


def assert_nothing_is_left(sweep: "subprocess.Popen[str]", job: int) -> None:
    deadline = time.monotonic() + 15
    while left := [*left_in(sweep.pid), *filter(os.path.exists, [f"/proc/{job}"])]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


@pytest.mark.slow
def test_a_killed_worker_costs_its_own_job_and_the_repetition_ends_in_the_bits_of_local(tmp_path: Path) -> None:
    cases = "+model.case=good,raises,slow"
    sweep = start(tmp_path, *JOBS, RAY, cases, "name=s")
    until(lambda: checkpoints(tmp_path), sweep)
    job = process_of(tmp_path, "slow")
    os.kill(parent_of(job), signal.SIGKILL)
    code, said = finish(sweep)
    assert code == 1 and "Traceback" not in said, said
    assert states(tmp_path) == {"good": "finished", "raises": "failed", "slow": "failed"}
    failures = [line for line in said.splitlines() if line.startswith("FAILED ")]
    assert len(failures) == 2 and "ValueError: as asked for" in said and "killed by SIGKILL" in said, said
    assert not Path(f"/proc/{job}").exists()
    assert "the job was lost: " in next((tmp_path / "outputs/s/logs").glob("*slow*")).read_text()
    again, said = finish(start(tmp_path, *JOBS, RAY, cases, "name=s", MENDED="1"))
    assert again == 0 and said.count("finished already") == 1, said
    whole, said = finish(start(tmp_path, *JOBS, cases, "name=whole", MENDED="1"))
    assert whole == 0, said
    jobs = [path.name for path in (tmp_path / "outputs/whole").glob("model.case-*")]
    assert len(jobs) == 3
    for name in jobs:
        assert_same_run(tmp_path / "outputs/whole" / name, tmp_path / "outputs/s" / name)


@pytest.mark.slow
def test_what_a_sweep_started_ends_with_it_by_a_kill_at_once_by_a_stop_with_checkpoints(tmp_path: Path) -> None:
    for number, code in ((signal.SIGKILL, -9), (signal.SIGTERM, 75)):
        sweep = start(tmp_path, *JOBS, RAY, "+model.case=slow,good", "epochs=30", "name=s")
        before = checkpoints(tmp_path)
        until(lambda before=before: checkpoints(tmp_path) - before, sweep)
        job = process_of(tmp_path, "slow")
        sweep.send_signal(number)
        ended, said = finish(sweep)
        assert ended == code, said
        assert_nothing_is_left(sweep, job)
    assert "to be resumed" in said and states(tmp_path)["slow"] == "interrupted"
    assert "Traceback" not in said, said


def made(work: Path) -> list[str]:
    """Return the names of all files; Hydra writes its record of the command line before it asks a launcher."""
    return [path.name for path in work.rglob("*") if path.is_file()]


WRONG = [
    {"cpus": 0}, {"cpus": 1.5}, {"gpus": -1}, {"gpus": 1.5}, {"gpus": "much"}, {"address": "head"},
    {"resources": 5}, {"resources": {"special": "many"}},
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_wrong_option_is_refused_before_ray_is_touched(wrong: dict[str, Any]) -> None:
    register()
    with hydra_session(None):
        node = compose_config(["hydra/launcher=ray"]).hydra.launcher
    said = rf"^hydra\.launcher\.{next(iter(wrong))}\b.* is invalid; use"
    with pytest.raises(ConfigError, match=said):
        options_of(Ray, {**node, **wrong}, "hydra.launcher")


def test_a_wrong_option_is_one_sentence_and_starts_nothing(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = cli(capsys, "-m", RAY, "seed=0,1", "name=s", "hydra.launcher.resources={special:many}")
    assert outcome.code == 2 and len(outcome.err.splitlines()) == 1, outcome.err
    assert made(work) == []


def test_without_ray_the_sentence_says_how_to_install_it(
    work: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    outcome = cli(capsys, "-m", RAY, "seed=0,1", "name=s")
    assert outcome.code == 2 and 'python -m pip install "runner-train[ray]"' in outcome.err, outcome.err
    assert len(outcome.err.splitlines()) == 1 and made(work) == []


def test_a_preview_needs_no_ray_to_run(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = cli(capsys, "-m", RAY, "seed=0,1", "name=s", "hydra.launcher.preview=true")
    assert outcome.code == 0 and "2 of 2 jobs would run" in outcome.out
    assert made(work) == []
