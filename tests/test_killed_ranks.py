"""Killed at random moments, one rank, torchrun or all, a run of two processes ends in the bits of one left alone."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from runner.checkpoint.listing import steps
from tests.support import REPOSITORY
from tests.support.command_line import TINY
from tests.support.comparing import assert_same_run
from tests.support.fork_server import ForkServer, Started
from tests.support.processes import finish, until
from tests.support.ranks import Jobs, kill, run_ranks, start_ranks, torchrun, workers

# Dropout, augmentation, accumulation, a moving average, and a schedule that does not depend on the length.
EVERYTHING = (
    *(word for word in TINY if not word.startswith(("epochs", "checkpoint"))), "ema.decay=0.9", "device=cpu",
    "scheduler=cosine_restarts", "scheduler.unit=step", "scheduler.period=50", "eval_every=13", "strategy.timeout=20",
    "checkpoint=every_n_steps", "checkpoint.every_steps=5",
)  # fmt: skip
AGAIN = (*EVERYTHING, "name=x", "resume=auto")
ENDLESS = (*AGAIN, "max_steps=1000000")
SAVED = ("tracker=csv", "device=cpu", "checkpoint=every_n_steps", "checkpoint.every_steps=3", "strategy.timeout=20")
OTHERS = {
    "gan": ("experiment=gan_digits", "epochs=6"),  # 120 steps
    "bert": ("--config-dir=conf", "experiment=bert", "epochs=3", "model.config.num_hidden_layers=1"),  # 144 steps
}
TRUST = "transformers,transformers.AutoModelForSequenceClassification.from_config"
RESTARTING = ("--standalone", "--nproc-per-node=2", "--max-restarts=3")


def newest(work: Path) -> int:
    """Return the step of the newest checkpoint, 0 without one."""
    return max(steps(work / "outputs/x"), default=0)


def killed_by_hand(process: ForkServer, work: Path, chance: random.Random, kills: int) -> None:
    """Start the run so often, and kill a rank or both, the first time once it trains, then at any moment since."""
    span = 0.0
    for _ in range(kills):
        begun, ranks = time.monotonic(), start_ranks(process, work, 2, *ENDLESS)
        if not span:
            until(lambda: newest(work))
            span = 1.5 * (time.monotonic() - begun)
        time.sleep(chance.random() * span)
        _strike(ranks, chance.choice([ranks[:1], ranks[1:], ranks]))


def _strike(ranks: list[Started], victims: list[Started]) -> None:
    """Kill some ranks, and ask the others to end, as torchrun would."""
    for rank in ranks:
        with suppress(ProcessLookupError):
            os.kill(rank.pid, signal.SIGKILL if rank in victims else signal.SIGTERM)
    for rank in ranks:
        code, text = rank.finish()
        assert code == -signal.SIGKILL if rank in victims else code != 0 and "Traceback" not in text, text


def killed_under_torchrun(jobs: Jobs, work: Path, chance: random.Random, kills: int) -> None:
    """Kill so often a rank, for which torchrun starts all again, or torchrun, or all, and then repeat the command."""
    before, span = newest(work), 0.0
    for _ in range(kills):
        begun = time.monotonic()
        if not jobs or jobs[-1].poll() is not None:
            jobs.append(torchrun(work, RESTARTING, *ENDLESS))
        job = jobs[-1]
        if not span:
            until(lambda: newest(work) > before, job)
            span = 1.5 * (time.monotonic() - begun)
        time.sleep(chance.random() * span)
        ranks = workers(job)
        kill(job, *chance.choice([ranks[:1], ranks[1:], [job.pid], [job.pid, *ranks]]))


@pytest.mark.slow
def test_ten_kills_at_random_moments_change_no_bit(work: Path, process: ForkServer, jobs: Jobs) -> None:
    chance = random.Random(15)
    killed_by_hand(process, work, chance, 6)
    killed_under_torchrun(jobs, work, chance, 4)
    if jobs[-1].poll() is None:
        kill(jobs[-1])
    end = f"max_steps={newest(work) + 4}"
    for words in ((*AGAIN, end), (*EVERYTHING, "name=whole", end)):
        codes, text = run_ranks(process, work, 2, *words)
        assert codes == [0, 0], text
    assert json.loads((work / "outputs/x/status.json").read_text())["attempt"] > 3
    assert_same_run(work / "outputs/whole", work / "outputs/x")


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_a_kill_of_a_rank_of_torchrun_and_of_all_changes_no_bit(work: Path, jobs: Jobs, name: str) -> None:
    if name == "bert":
        pytest.importorskip("transformers")
        shutil.copytree(REPOSITORY / "docs/examples/bert", work, dirs_exist_ok=True)
    places = {"PYTHONPATH": os.pathsep.join(map(str, (work, REPOSITORY))), "RUNNER_TRUST": TRUST}
    words = (*OTHERS[name], *SAVED)

    def started(*more: str) -> "subprocess.Popen[str]":
        jobs.append(torchrun(work, RESTARTING, *words, *more, **places))
        return jobs[-1]

    assert finish(started("name=whole"))[0] == 0
    moments = sorted(random.Random(name).sample(range(3, 100), 3))
    job = started("name=x", "resume=auto")
    for number, moment in enumerate(moments):
        if job.poll() is not None:
            job = started("name=x", "resume=auto")
        until(lambda moment=moment: newest(work) >= moment, job)  # type: ignore[misc]
        kill(job, *(workers(job)[1:], [job.pid], [])[number])
    code, text = finish(started("name=x", "resume=auto"))
    assert code == 0, text
    assert_same_run(work / "outputs/whole", work / "outputs/x")
