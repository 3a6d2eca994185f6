"""Killed again and again amid frequent saving, a run loses nothing that was acknowledged and ends in the same bits."""

import os
import random
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from runner.checkpoint.listing import candidates, newest_valid, steps
from tests.support.comparing import difference, entries_of
from tests.support.fork_server import ForkServer, Started

SMALL = ("model=mlp", "model.hidden=[16]", "data=synthetic", "data.shape=[16]", "data.size=160")
LARGE = ("model=mlp", "model.hidden=[950,950,950,950]", "data=synthetic", "data.shape=[16]", "data.size=160")
FREQUENT = (
    "optimizer=adam", "scheduler=none", "batch_size=8", "log_every=20", "eval_every=1000", "tracker=csv",
    "checkpoint=every_n_steps", "checkpoint.every_steps=2", "device=cpu",
)  # fmt: skip


def temporaries(run: Path) -> list[Path]:
    """Return what writers left behind."""
    return [path for path in run.rglob(".*.tmp-*") if path.is_file()]


def wait_for_more(run: Path, than: int, process: Started) -> None:
    """Return once a checkpoint of a later step stands."""
    deadline = time.monotonic() + 120
    while max(steps(run), default=0) <= than:
        assert time.monotonic() < deadline and not process.ended(), process.text()
        time.sleep(0.002)


def killed_again_and_again(process: ForkServer, work: Path, words: Sequence[str], kills: int) -> None:
    """Kill a run so often, each time at a random moment after its first new checkpoint; then let it finish."""
    chance, run, said = random.Random(kills), work / "outputs/x", ""
    again = (*words, "name=x", "resume=auto")
    for _ in range(kills):
        at = max(steps(run), default=0)
        started = process.start(work, *again, "max_steps=1000000")
        wait_for_more(run, at, started)
        acknowledged = max(steps(run))
        time.sleep(chance.random() * 0.3)
        os.kill(started.pid, signal.SIGKILL)
        code, text = started.finish()
        assert code == -signal.SIGKILL, text
        said += text
        newest, passed_over = newest_valid(run)
        assert newest is not None and not passed_over and newest == next(candidates(run))
        assert max(steps(run)) >= acknowledged and len(temporaries(run)) <= 2
    last = max(steps(run)) + 4
    code, text = process.run(work, *again, f"max_steps={last}")
    assert code == 0, text
    assert not temporaries(run) and "Traceback" not in said + text and "passed over" not in said + text
    code, text = process.run(work, *words, "name=whole", f"max_steps={last}", "checkpoint.every_steps=100000")
    assert code == 0, text
    assert difference(entries_of(run / "last.tar"), entries_of(work / "outputs/whole/last.tar")) is None


@pytest.mark.slow
def test_a_few_kills(process: ForkServer, tmp_path: Path) -> None:
    killed_again_and_again(process, tmp_path, (*SMALL, *FREQUENT), kills=5)


@pytest.mark.slow
def test_two_hundred_kills_amid_saves_of_30_megabytes(process: ForkServer, tmp_path: Path) -> None:
    killed_again_and_again(process, tmp_path, (*LARGE, *FREQUENT), kills=200)
    assert (tmp_path / "outputs/x/last.tar").stat().st_size > 30_000_000
