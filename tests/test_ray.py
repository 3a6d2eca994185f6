"""The launcher `ray`: the jobs of `local`, placed by Ray, with the same bits; a lost worker costs its own job only."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import REPOSITORY, assert_same_run, cli

pytest.importorskip("ray", reason='Ray is not installed: python -m pip install -e ".[ray]"')

JOBS = (
    "-m", "model=own", "model._target_=tests.sweeping.Fragile", "data=own", "data._target_=tests.own.NoisyPoints",
    "batch_size=8", "tracker=csv", "device=cpu", "epochs=3", "checkpoint=every_n_steps", "checkpoint.every_steps=1",
    "hydra.launcher.n_jobs=3",
)  # fmt: skip
RAY = "hydra/launcher=ray"


def started(work: Path, *words: str, **environment: str) -> "subprocess.Popen[str]":
    """Start a sweep as the leader of a process group."""
    command = [sys.executable, str(REPOSITORY / "run.py"), *JOBS, *words]
    surroundings = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY), **environment}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, cwd=work, env=surroundings, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    )


def finished(sweep: "subprocess.Popen[str]") -> tuple[int, str]:
    """Return the exit code and all that was said."""
    out, err = sweep.communicate(timeout=120)
    return sweep.returncode, out + err


def until(sweep: "subprocess.Popen[str]", reached: Callable[[], bool]) -> None:
    """Wait while the sweep goes on."""
    while not reached():
        assert sweep.poll() is None, finished(sweep)
        time.sleep(0.02)


def states(work: Path) -> dict[str, str]:
    """Return how each job of the sweep `s` stands, by its case."""
    jobs = [path for path in (work / "outputs/s").glob("_model.case-*/status.json")]
    return {path.parent.name.split("-")[1]: json.loads(path.read_text())["state"] for path in jobs}


def checkpoint_of(work: Path, case: str) -> bool:
    return bool(list((work / "outputs/s").glob(f"_model.case-{case}-*/last.tar")))


def process_of(work: Path, case: str) -> int:
    """Return the number of the process in which a job runs."""
    (status,) = (work / "outputs/s").glob(f"_model.case-{case}-*/status.json")
    return int(json.loads(status.read_text())["pid"])


def parent_of(process: int) -> int:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return int(fields[1])


def left_in(session: int) -> list[str]:
    """Return what still runs in the session of a sweep: Ray's own processes, for all but the jobs are in it."""
    answer = subprocess.run(["ps", "-o", "args=", "--sid", str(session)], capture_output=True, text=True)
    return answer.stdout.splitlines()


@pytest.mark.slow
def test_a_killed_worker_costs_its_own_job_and_the_repetition_ends_in_the_bits_of_local(tmp_path: Path) -> None:
    cases = "+model.case=good,raises,slow"
    sweep = started(tmp_path, RAY, cases, "name=s")
    until(sweep, lambda: checkpoint_of(tmp_path, "slow"))
    job = process_of(tmp_path, "slow")
    os.kill(parent_of(job), signal.SIGKILL)
    code, said = finished(sweep)
    assert code == 1 and "Traceback" not in said, said
    assert states(tmp_path) == {"good": "finished", "raises": "failed", "slow": "running"}
    failures = [line for line in said.splitlines() if line.startswith("FAILED ")]
    assert len(failures) == 2 and "exit code 1" in said and "killed by SIGKILL" in said, said
    assert not Path(f"/proc/{job}").exists()
    assert "the job was lost: " in next((tmp_path / "outputs/s/logs").glob("*slow*")).read_text()
    again, said = finished(started(tmp_path, RAY, cases, "name=s", MENDED="1"))
    assert again == 0 and said.count("finished already") == 1, said
    whole, said = finished(started(tmp_path, cases, "name=whole", MENDED="1"))
    assert whole == 0, said
    jobs = [path.name for path in (tmp_path / "outputs/whole").glob("_model.case-*")]
    assert len(jobs) == 3
    for name in jobs:
        assert_same_run(tmp_path / "outputs/whole" / name, tmp_path / "outputs/s" / name)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, -signal.SIGINT)])
def test_a_stop_leaves_checkpoints_and_nothing_that_runs(tmp_path: Path, number: signal.Signals, code: int) -> None:
    sweep = started(tmp_path, RAY, "+model.case=slow", "name=s")
    until(sweep, lambda: checkpoint_of(tmp_path, "slow"))
    job = process_of(tmp_path, "slow")
    sweep.send_signal(number)
    ended, said = finished(sweep)
    assert ended == code and "to be resumed" in said, said
    assert states(tmp_path) == {"slow": "interrupted"}
    assert not left_in(sweep.pid) and not Path(f"/proc/{job}").exists()


@pytest.mark.slow
def test_a_killed_sweep_takes_its_jobs_and_its_ray_with_it(tmp_path: Path) -> None:
    sweep = started(tmp_path, RAY, "+model.case=slow", "name=s")
    until(sweep, lambda: checkpoint_of(tmp_path, "slow"))
    job = process_of(tmp_path, "slow")
    assert left_in(sweep.pid)
    sweep.kill()
    finished(sweep)
    deadline = time.monotonic() + 15
    while (left_in(sweep.pid) or Path(f"/proc/{job}").exists()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left_in(sweep.pid) and not Path(f"/proc/{job}").exists()


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(work: Path) -> list[str]:
    """Return the names of all files; Hydra writes its record of the command line before it asks a launcher."""
    return [path.name for path in work.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "word",
    [
        "cpus=0",
        "cpus=1.5",
        "gpus=-1",
        "gpus=1.5",
        "gpus=much",
        "address=head",
        "resources=5",
        "resources={special:many}",
    ],
)
def test_a_wrong_option_is_one_sentence_and_makes_nothing(
    work: Path, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    outcome = cli(capsys, "-m", RAY, "seed=0,1", "name=s", f"hydra.launcher.{word}")
    assert outcome.code == 2 and len(outcome.err.splitlines()) == 1, outcome.err
    assert f"hydra.launcher.{word.split('=')[0]}=" in outcome.err and "cannot be: it must be" in outcome.err
    assert made(work) == ["multirun.yaml"]


def test_without_ray_the_sentence_says_how_to_install_it(
    work: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    outcome = cli(capsys, "-m", RAY, "seed=0,1", "name=s")
    assert outcome.code == 2 and 'python -m pip install "runner-train[ray]"' in outcome.err, outcome.err
    assert len(outcome.err.splitlines()) == 1 and made(work) == ["multirun.yaml"]


def test_a_preview_needs_no_ray_to_run(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = cli(capsys, "-m", RAY, "seed=0,1", "name=s", "hydra.launcher.preview=true")
    assert outcome.code == 0 and "2 of 2 jobs would run" in outcome.out
    assert made(work) == ["multirun.yaml"]
