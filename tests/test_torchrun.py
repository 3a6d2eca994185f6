"""What torchrun kills and starts again ends in the same bits; so does what a whole job's death interrupts."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runner.checkpoint.listing import steps
from tests.support.comparing import difference, entries_of
from tests.support.fork_server import ForkServer
from tests.support.processes import finish, until
from tests.support.ranks import Jobs, free_port, kill, run_ranks, torchrun, workers
from tests.support.small_disk import isolated, shell

LONG = (
    "model=mlp", "model.hidden=[16]", "model.dropout=0.2", "data=synthetic", "data.shape=[16]", "data.size=160",
    "optimizer=adam", "scheduler=none", "batch_size=8", "log_every=50", "eval_every=1000", "tracker=csv",
    "checkpoint=every_n_steps", "checkpoint.every_steps=20", "device=cpu", "name=x",
)  # fmt: skip
ALONE = ("--standalone", "--nproc-per-node=2")


def until_step(work: Path, step: int, job: "subprocess.Popen[str]") -> None:
    """Return once there is a checkpoint of this step, or a later one."""
    deadline = time.monotonic() + 120
    while max(steps(work / "outputs/x"), default=0) < step:
        assert time.monotonic() < deadline and job.poll() is None, finish(job)[1]
        time.sleep(0.01)


def assert_as_uninterrupted(process: ForkServer, work: Path, *words: str, size: int = 2) -> None:
    """Assert that the run `x` ended in the bits of one that nobody disturbed."""
    codes, text = run_ranks(process, work, size, *LONG, *words, "name=whole", "checkpoint.every_steps=100000")
    assert codes == [0] * size, text
    assert difference(entries_of(work / "outputs/whole/last.tar"), entries_of(work / "outputs/x/last.tar")) is None


@pytest.mark.slow
def test_workers_that_are_killed_are_started_again_and_go_on(work: Path, process: ForkServer, jobs: Jobs) -> None:
    words = ("max_steps=900",)
    jobs.append(torchrun(work, [*ALONE, "--max-restarts=3"], *LONG, *words))
    for step, rank in ((100, 0), (300, 1)):
        until_step(work, step, jobs[0])
        former = workers(jobs[0])
        os.kill(former[rank], signal.SIGKILL)
        until_step(work, max(steps(work / "outputs/x")) + 60, jobs[0])
        assert not set(workers(jobs[0])) & set(former)
    code, text = finish(jobs[0])
    assert code == 0, text
    assert json.loads((work / "outputs/x/status.json").read_text())["attempt"] == 3
    assert_as_uninterrupted(process, work, *words)


@pytest.mark.slow
def test_whole_jobs_that_are_killed_go_on_by_the_same_command(work: Path, process: ForkServer, jobs: Jobs) -> None:
    chance = random.Random(1)
    for number in range(3):
        job = torchrun(work, ALONE, *LONG, "max_steps=1000000", "resume=auto")
        jobs.append(job)
        until_step(work, max(steps(work / "outputs/x"), default=0) + 1, job)
        time.sleep(chance.random())
        acknowledged = max(steps(work / "outputs/x"))
        if number % 2:
            kill(job)
        else:
            os.kill(chance.choice(workers(job)), signal.SIGKILL)
            assert finish(job)[0] == 1
        assert max(steps(work / "outputs/x")) >= acknowledged
    end = f"max_steps={max(steps(work / 'outputs/x')) + 4}"
    jobs.append(torchrun(work, ALONE, *LONG, end, "resume=auto"))
    code, text = finish(jobs[-1])
    assert code == 0, text
    assert_as_uninterrupted(process, work, end)


def is_gone(pid: int) -> bool:
    """Return whether a process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.slow
def test_workers_that_have_just_begun_end_with_torchrun(work: Path, jobs: Jobs) -> None:
    for pause in (0.0, 0.2):
        jobs.append(torchrun(work, ALONE, *LONG, "max_steps=1000000"))
        until(lambda: len(workers(jobs[-1])) == 2, jobs[-1])
        begun = workers(jobs[-1])
        time.sleep(pause)
        kill(jobs[-1], jobs[-1].pid)
        until(lambda begun=begun: all(map(is_gone, begun)))  # type: ignore[misc]
    assert not (work / "outputs").exists()


@isolated
def test_a_process_whose_own_init_has_just_started_it_is_not_left_behind(work: Path) -> None:
    asking = "import os; from runner.strategy.processes import is_left_behind; print(os.getppid(), is_left_behind())"
    outcome = shell(work, f"{sys.executable} -c '{asking}'; true", "unshare", "-rpf", "--mount-proc")
    assert outcome.stdout == "1 False\n", outcome


def agent(jobs: Jobs, work: Path, nodes: str, port: int, *words: str) -> "subprocess.Popen[str]":
    """Start one of several agents of a job, with one worker, which meet at a port."""
    options = [f"--nnodes={nodes}", "--nproc-per-node=1", "--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}"]
    jobs.append(torchrun(work, [*options, f"--rdzv-id=job{port}", "--max-restarts=3"], *LONG, *words))
    return jobs[-1]


def listens(port: int) -> bool:
    """Return whether somebody listens on a port of the loopback."""
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.slow
def test_a_job_that_loses_a_host_goes_on_with_the_other(work: Path, jobs: Jobs) -> None:
    port = free_port()
    first = agent(jobs, work, "1:2", port, "max_steps=1000000")
    until(lambda: listens(port), first)  # it holds the meeting, and survives
    second = agent(jobs, work, "1:2", port, "max_steps=1000000")
    until_step(work, 40, first)
    kill(second)
    until_step(work, max(steps(work / "outputs/x")) + 100, first)
    os.kill(first.pid, signal.SIGTERM)
    finish(first)
    assert "no longer exactly" in (work / "outputs/x/run.log").read_text()


@pytest.mark.slow
def test_hosts_without_a_shared_disk_train_one_run(work: Path, process: ForkServer, jobs: Jobs) -> None:
    port, words = free_port(), ("max_steps=100",)
    folders = [work / name for name in ("one", "other")]
    for folder in folders:
        folder.mkdir()
        agent(jobs, folder, "2", port, *words)
    ended = [finish(job) for job in jobs]
    assert [code for code, _ in ended] == [0, 0], ended
    (owner,) = (folder for folder in folders if (folder / "outputs/x/last.tar").exists())
    (other,) = (folder for folder in folders if folder != owner)
    assert [path.name for path in (other / "outputs/x").rglob("*") if path.is_file()] == ["rank_1.log"]
    assert_as_uninterrupted(process, owner, *words)
