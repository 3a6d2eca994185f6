"""The launcher `slurm`, against stand-ins for Slurm's commands and submitit's local executor: no real Slurm."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runner.commands.sweep.clusters import request_of
from runner.errors import ConfigError
from runner.sweeps.executors.attempt import Attempt
from runner.sweeps.executors.executor import KILLED, Order
from runner.sweeps.executors.request import Request, check_machine
from runner.sweeps.executors.slurm import Queue
from runner.wiring.config.compose import compose_config, hydra_session, register
from runner.wiring.schema.sweeping import Slurm
from runner.wiring.search.sweep_options import options_of
from tests.support import REPOSITORY, fake_slurm
from tests.support.comparing import assert_same_run
from tests.support.processes import RUN, run, until
from tests.support.ranks import free_port, torchrun

pytest.importorskip("submitit", reason="the extra `slurm` is not installed")

WORDS = (
    "model=own", "data=own", "data._target_=tests.own.points.NoisyPoints", "model._target_=tests.own.jobs.Fragile",
    "batch_size=8", "tracker=csv", "device=cpu", "epochs=6", "+model.case=slow",
)  # fmt: skip
SWEEP = ("-m", "hydra/launcher=slurm", "seed=0,1", "name=s", *WORDS)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the stand-ins onto PATH and return what they know; work in an empty directory."""
    fake_slurm.install(tmp_path / "bin")
    (tmp_path / "jobs").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(tmp_path / "jobs"))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setattr("tests.support.fake_slurm.HOME", tmp_path / "jobs", raising=False)
    return tmp_path / "jobs"


def request(**changes: Any) -> Request:
    """Return what the launcher's own options, but for some, ask of Slurm."""
    register()
    with hydra_session(None):
        node = compose_config(["hydra/launcher=slurm"]).hydra.launcher
    return request_of(options_of(Slurm, {**node, **changes}, "hydra.launcher"))


def order(number: int, *words: str) -> Order:
    return Order(number, number, [RUN[1], *words], f"outputs/s/logs/job-{number}.log")


def codes(queue: Queue, count: int = 1) -> dict[int, int]:
    """Return the codes of so many jobs once they have ended."""
    ended: dict[int, int] = {}

    def look() -> bool:
        ended.update({event.number: event.code for event in queue.events(0.02) if event.code is not None})
        return len(ended) == count

    until(look)
    return ended


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cluster", "pbs"), ("time_limit", "soon"), ("time_limit", None), ("stop_before", "1h"), ("stop_before", -1),
        ("partition", True), ("account", ""), ("cpus", 0), ("gpus", "one"), ("memory", 0), ("memory", "64G"),
        ("setup", "module load cuda"), ("extra", {"mail": None}),
    ],
)  # fmt: skip
def test_a_wrong_option_is_one_sentence_that_names_it(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^hydra\.launcher\.{key}\b.*(is|be|give)"):
        request(**{key: value})


def test_without_slurm_or_submitit_the_sentence_says_what_is_absent_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = run(tmp_path, *SWEEP, PATH="/nowhere")
    assert ended.returncode == 2 and "needs Slurm's sbatch" in ended.stderr and "Traceback" not in ended.stderr
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r'pip install "runner-train\[slurm\]"'):
        check_machine("local")


def test_jobs_are_the_command_line_of_run_py_with_its_output_in_the_log_and_its_code(cluster: Path) -> None:
    with Queue(replace(request(), partition="gpu", gpus=2, cpus=3, memory=1.5, extra={"reservation": "mine"})) as queue:
        queue.start(order(1, "--help"))
        queue.start(order(2, "model=lenett"))
        queue.start(order(3, "--version-of-nothing"))
        assert codes(queue, 3) == {1: 0, 2: 2, 3: 2}
    assert "epochs" in Path("outputs/s/logs/job-1.log").read_text()
    assert "lenett" in Path("outputs/s/logs/job-2.log").read_text()
    assert not list(Path("outputs/s/logs/slurm").glob("*.json"))
    script = (cluster / "1/script").read_text()
    for line in ("partition=gpu", "gpus-per-node=2", "cpus-per-task=3", "mem=1536M", "time=60", "signal=USR2@120"):
        assert f"#SBATCH --{line}\n" in script
    assert "#SBATCH --requeue\n" in script and "#SBATCH --reservation=mine\n" in script
    assert "srun" in script and "--cpus-per-task=3 env" in script


def test_what_sbatch_refuses_is_a_failure_of_that_job_with_the_reason_in_its_log(cluster: Path) -> None:
    with Queue(replace(request(), partition="nowhere")) as queue:
        queue.start(order(1, "--help"))
        assert codes(queue) == {1: 1}
    assert "invalid partition specified: nowhere" in Path("outputs/s/logs/job-1.log").read_text()


def test_a_job_that_waits_is_followed_by_a_repeated_command_and_is_cancelled_by_a_stop(
    cluster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_SLOTS", "0")
    first = Queue(request())
    first.start(order(1, "--help"))  # and no end: as after a SIGKILL
    with pytest.raises(ConfigError, match="job-1 is still queued or running as job 1"):
        Queue(request()).check_nothing_runs(Path("outputs/s/logs"))
    with Queue(request()) as second:
        second.start(order(1, "--help"))
        assert second.events(1.0) == []  # it waits, as the one that is there
        assert [path.name for path in cluster.glob("[0-9]*")] == ["1"]
        second.ask_to_stop(1)
        assert codes(second) == {1: 75}
    deadline = time.monotonic() + 10
    while not fake_slurm.state("1").startswith("CANCELLED") and time.monotonic() < deadline:  # it looks now and then
        time.sleep(0.02)
    assert fake_slurm.state("1").startswith("CANCELLED")


def test_a_job_that_is_lost_is_told_as_killed_and_one_that_was_given_up_never_runs(
    cluster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.sweeps.executors.slurm._AGAIN", 0.1)
    monkeypatch.setenv("FAKE_SLOTS", "0")
    with Queue(request()) as queue:
        queue.start(order(1, "--help"))
        (cluster / "1/cancel").touch()
        assert codes(queue) == {1: KILLED}
    record, log = Path("record.json").absolute(), Path("log").absolute()
    record.write_text(json.dumps({"folder": "another"}))
    assert Attempt([RUN[1], "--help"], str(log), os.getcwd(), str(record), "mine")() == 75
    assert not log.exists()


def started(*words: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([*RUN, *words], start_new_session=True, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the jobs locally and in one go; return the directory of the sweep."""
    work = tmp_path_factory.mktemp("whole")
    done = run(work, "-m", "hydra.launcher.n_jobs=2", *SWEEP[2:], MENDED="1")
    assert done.returncode == 0, done.stderr
    return work / "outputs/s"


def saved() -> list[Path]:
    return list(Path("outputs/s").glob("seed-*/last.tar"))


def statuses() -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(Path("outputs/s").glob("seed-*/status.json"))]


@pytest.mark.slow
def test_a_preempted_job_goes_on_after_it_was_requeued_and_a_killed_sweep_finds_its_jobs(
    cluster: Path, whole: Path
) -> None:
    sweep = started(*SWEEP)
    until(lambda: len(saved()) == 2, sweep)
    fake_slurm.scancel("--signal=USR2", "1")  # what comes before the limit
    until(lambda: not (cluster / "1/requeue").exists() and fake_slurm.state("1") == "RUNNING", sweep)
    sweep.kill()
    sweep.wait()
    assert run(Path(), *SWEEP).returncode == 0
    assert sorted(path.name for path in cluster.glob("[0-9]*")) == ["1", "2"]  # none was submitted twice
    assert sorted(status["attempt"] for status in statuses()) == [1, 2]
    for job in whole.glob("seed-*"):
        assert_same_run(job, Path("outputs/s") / job.name)


@pytest.mark.slow
def test_a_sweep_that_is_stopped_saves_what_runs_and_cancels_what_waits(
    cluster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_SLOTS", "1")
    sweep = started(*SWEEP)
    until(saved, sweep)
    sweep.terminate()
    assert sweep.wait(60) == 75
    assert [status["state"] for status in statuses()] == ["interrupted"]
    until(lambda: all(fake_slurm.state(job) not in fake_slurm.LIVE for job in "12"))
    assert not list(Path("outputs/s/logs/slurm").glob("*.json"))


@pytest.mark.slow
def test_on_this_machine_ctrl_c_saves_a_killed_sweep_goes_on_and_a_limit_of_time_requeues(
    cluster: Path, whole: Path
) -> None:
    local = (*SWEEP, "hydra.launcher.cluster=local", "seed=0")
    sweep = started(*local)
    until(saved, sweep)
    os.killpg(sweep.pid, signal.SIGINT)  # as a terminal does it: to all of the foreground
    assert sweep.wait(60) == -signal.SIGINT
    assert [status["state"] for status in statuses()] == ["interrupted"]
    sweep = started(*local)
    until(lambda: [status["attempt"] for status in statuses()] == [2], sweep)
    (record,) = Path("outputs/s/logs/slurm").glob("*.json")
    controller = json.loads(record.read_text())["job"]
    sweep.kill()
    sweep.wait()
    submitted = Path(f"/proc/{controller}/task/{controller}/children").read_text().split()
    os.kill(int(submitted[0]), signal.SIGUSR2)  # what submitit sends before the limit
    assert run(Path(), *local).returncode == 0
    assert [(status["attempt"], status["state"]) for status in statuses()] == [(3, "finished")]
    assert_same_run(next(whole.glob("seed-0-*")), saved()[0].parent)


@pytest.mark.slow
def test_a_job_whose_process_on_the_cluster_is_killed_leaves_no_run_behind(
    cluster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.sweeps.executors.slurm._AGAIN", 0.1)
    with Queue(request()) as queue:
        queue.start(order(1, *WORDS, "name=s/seed-0"))
        until(saved)
        (status,) = statuses()
        fake_slurm.signal_step("1", signal.SIGKILL)
        until(lambda: not Path(f"/proc/{status['pid']}").exists())
        assert codes(queue) == {1: KILLED}
    left = saved()[0].stat().st_mtime_ns
    time.sleep(1)
    assert saved()[0].stat().st_mtime_ns == left


@pytest.mark.slow
def test_the_script_for_one_run_is_queued_again_at_its_limit_and_ends_in_the_same_bits(
    cluster: Path, whole: Path
) -> None:
    Path("run.py").symlink_to(RUN[1])
    template = (REPOSITORY / "docs/train.sbatch").read_text()
    line = "python run.py name=lenet resume=auto model=lenet device=cuda &"
    assert line in template
    words = f"{sys.executable} run.py name=lenet resume=auto {' '.join(WORDS)} &"
    Path("train.sbatch").write_text(template.replace(line, words))

    def submitted(restarts: int, **more: str) -> "subprocess.Popen[bytes]":
        surroundings = {**os.environ, "SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": str(restarts), **more}
        return subprocess.Popen(["bash", "train.sbatch"], env=surroundings, start_new_session=True)

    (cluster / "7").mkdir()
    last = Path("outputs/lenet/last.tar")
    script = submitted(0)
    until(last.exists, script)
    script.send_signal(signal.SIGUSR1)
    assert script.wait(60) == 75 and (cluster / "7/requeue").exists()
    (cluster / "7/requeue").unlink()
    script, before = submitted(1), last.stat().st_mtime_ns
    until(lambda: last.stat().st_mtime_ns != before, script)
    script.send_signal(signal.SIGTERM)  # a cancellation, or a preemption: it is not for the script to say which
    until(lambda: json.loads(Path("outputs/lenet/status.json").read_text())["state"] == "interrupted", script)
    time.sleep(2)
    assert script.poll() is None and not (cluster / "7/requeue").exists()
    os.killpg(script.pid, signal.SIGKILL)
    script.wait()
    assert submitted(2, MENDED="1").wait(60) == 0
    assert_same_run(next(whole.glob("seed-0-*")), Path("outputs/lenet"))


@pytest.mark.slow
def test_the_script_for_several_hosts_is_queued_again_at_its_limit_and_ends_in_the_same_bits(cluster: Path) -> None:
    Path("run.py").symlink_to(RUN[1])
    line = "run.py name=lenet resume=auto model=lenet device=cuda &"
    script = (REPOSITORY / "docs/train-several.sbatch").read_text()
    assert line in script and "srun torchrun " in script
    script = script.replace(line, f"run.py name=lenet resume=auto {' '.join(WORDS)} &")
    script = script.replace("torchrun ", f"{sys.executable} -m torch.distributed.run ")
    script = script.replace("node=4", "node=2").replace("29500", str(free_port()))
    Path("train.sbatch").write_text(script)
    whole = torchrun(Path(), ("--standalone", "--nproc-per-node=2"), "name=whole", *WORDS, MENDED="1")
    said, _ = whole.communicate(timeout=90)
    assert whole.returncode == 0, said

    def submitted(restarts: int, **more: str) -> "subprocess.Popen[bytes]":
        surroundings = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "127.0.0.1,elsewhere", "SLURM_NNODES": "1", **more}
        surroundings |= {"SLURM_RESTART_COUNT": str(restarts)} if restarts else {}
        return subprocess.Popen(["bash", "train.sbatch"], env={**os.environ, **surroundings}, start_new_session=True)

    (cluster / "7").mkdir()
    last = Path("outputs/lenet/last.tar")
    job = submitted(0)
    until(last.exists, job)
    job.send_signal(signal.SIGUSR1)
    assert job.wait(90) != 0 and (cluster / "7/requeue").exists()
    assert json.loads(Path("outputs/lenet/status.json").read_text())["state"] == "interrupted"
    assert submitted(1, MENDED="1").wait(90) == 0
    assert_same_run(Path("outputs/whole"), Path("outputs/lenet"))
