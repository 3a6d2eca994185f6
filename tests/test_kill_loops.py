"""Killed again and again amid frequent saving, a run loses nothing that was acknowledged and ends in the same bits."""

import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest
import torch
import torch._dynamo

from runner.checkpoint.listing import candidates, newest_valid, steps
from runner.commands import train
from runner.commands.main import main
from runner.run import life
from runner.wiring.starts import prepare
from tests.support import REPOSITORY
from tests.support.comparing import difference, entries_of

PRELOADED = (train, prepare, life, torch._dynamo)  # so that a fork has nothing left to import
SMALL = ("model=mlp", "model.hidden=[16]", "data=synthetic", "data.shape=[16]", "data.size=160")
LARGE = ("model=mlp", "model.hidden=[1900,1900,1900,1900]", "data=synthetic", "data.shape=[16]", "data.size=160")
FREQUENT = (
    "optimizer=adam", "scheduler=none", "batch_size=8", "log_every=20", "eval_every=1000", "tracker=csv",
    "checkpoint=every_n_steps", "checkpoint.every_steps=2", "device=cpu",
)  # fmt: skip


def start(work: Path, words: Sequence[str]) -> int:
    """Start a run in a fork of this process, which has torch already, and return its pid."""
    pid = os.fork()
    if pid == 0:
        _be_a_run(work, words)
    return pid


def _be_a_run(work: Path, words: Sequence[str]) -> NoReturn:
    code = 70
    try:
        os.setsid()
        os.chdir(work)
        with open(work / "said.txt", "ab") as said:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        torch.set_num_threads(1)
        sys.argv = [str(REPOSITORY / "run.py"), *words]
        main()
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def finished(pid: int) -> int:
    """Wait for a run's end and return its exit code."""
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def temporaries(run: Path) -> list[Path]:
    """Return what writers left behind."""
    return [path for path in run.rglob(".*.tmp-*") if path.is_file()]


def wait_for_more(run: Path, than: int, pid: int) -> None:
    """Return once a checkpoint of a later step stands, or the run has ended."""
    deadline = time.monotonic() + 120
    while max(steps(run), default=0) <= than:
        assert time.monotonic() < deadline and os.waitpid(pid, os.WNOHANG) == (0, 0), "the run makes no progress"
        time.sleep(0.002)


def killed_again_and_again(work: Path, words: Sequence[str], kills: int) -> None:
    """Kill a run so often, each time at a random moment after its first new checkpoint; then let it finish."""
    chance, run = random.Random(kills), work / "outputs/x"
    again = (*words, "name=x", "resume=auto")
    for _ in range(kills):
        at = max(steps(run), default=0)
        pid = start(work, (*again, "max_steps=1000000"))
        wait_for_more(run, at, pid)
        acknowledged = max(steps(run))
        time.sleep(chance.random() * 0.3)
        os.kill(pid, signal.SIGKILL)
        assert finished(pid) == -signal.SIGKILL, (work / "said.txt").read_text()[-3000:]
        newest, passed_over = newest_valid(run)
        assert newest is not None and not passed_over and newest == next(candidates(run))
        assert max(steps(run)) >= acknowledged and len(temporaries(run)) <= 2
    last = max(steps(run)) + 4
    assert finished(start(work, (*again, f"max_steps={last}"))) == 0, (work / "said.txt").read_text()[-3000:]
    assert not temporaries(run)
    whole = (*words, "name=whole", f"max_steps={last}", "checkpoint.every_steps=100000")
    assert finished(start(work, whole)) == 0, (work / "said.txt").read_text()[-3000:]
    assert difference(entries_of(run / "last.tar"), entries_of(work / "outputs/whole/last.tar")) is None
    said = (work / "said.txt").read_text()
    assert "Traceback" not in said and "passed over" not in said


def test_a_few_kills(tmp_path: Path) -> None:
    killed_again_and_again(tmp_path, (*SMALL, *FREQUENT), kills=5)


@pytest.mark.slow
def test_two_hundred_kills_of_a_state_of_130_megabytes(tmp_path: Path) -> None:
    killed_again_and_again(tmp_path, (*LARGE, *FREQUENT), kills=200)
    assert (tmp_path / "outputs/x/last.tar").stat().st_size > 125_000_000
