"""A wish of any process to stop, or to save, is that of all; a failed save is everybody's failure."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.support.command_line import TINY
from tests.support.comparing import assert_same_run, entries_of
from tests.support.fork_server import ForkServer, Started
from tests.support.ranks import run_ranks, start_ranks

LONG = (*TINY, "epochs=100000", "checkpoint.every_epochs=100000", "eval_every=100000", "device=cpu", "name=x")


def reason(work: Path) -> str:
    """Return why the run stopped."""
    found: str = json.loads((work / "outputs/x/status.json").read_text())["reason"]
    return found


def steps(work: Path) -> int:
    """Return the step of the newest row of metrics."""
    rows = (work / "outputs/x/metrics.csv").read_text().splitlines()[1:] if (work / "outputs/x").exists() else []
    return int(rows[-1].split(",")[0]) if rows else 0


def until_step(work: Path, step: int, ranks: list[Started]) -> None:
    """Return once the run has come so far."""
    deadline = time.monotonic() + 60
    while not (work / "outputs/x/metrics.csv").exists() or steps(work) < step:
        assert time.monotonic() < deadline and not any(rank.ended() for rank in ranks), ranks[0].text()
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "rank", "codes"),
    [("SIGTERM", 1, {75}), ("SIGUSR1", 1, {75}), ("SIGHUP", 0, {75}), ("SIGINT", 1, {75, -signal.SIGINT})],
)
def test_a_signal_to_one_process_stops_all_and_the_run_goes_on(
    work: Path, process: ForkServer, name: str, rank: int, codes: set[int]
) -> None:
    ranks = start_ranks(process, work, 2, *LONG)
    until_step(work, 4, ranks)
    os.kill(ranks[rank].pid, getattr(signal, name))
    ended = [one.finish() for one in ranks]
    assert {code for code, _ in ended} <= codes, ended
    assert reason(work) == name and "Traceback" not in ended[0][1] + ended[1][1]
    step = entries_of(work / "outputs/x/last.tar")["global_step"]
    again, text = run_ranks(process, work, 2, "resume=outputs/x", f"max_steps={step + 2}", "epochs=null")
    assert again == [0, 0], text
    assert entries_of(work / "outputs/x/last.tar")["global_step"] == step + 2


@pytest.mark.slow
def test_max_time_stops_all(work: Path, process: ForkServer) -> None:
    codes, text = run_ranks(process, work, 2, *LONG, "max_time=1s")
    assert codes == [75, 75] and reason(work) == "max_time", text


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_signal_asks_for_a_checkpoint_of_all_and_a_file_as_well(work: Path, process: ForkServer, rank: int) -> None:
    ranks = start_ranks(process, work, 2, *LONG)
    until_step(work, 2, ranks)
    for number, ask in enumerate((lambda: os.kill(ranks[rank].pid, signal.SIGUSR2), (work / "outputs/x/save").touch)):
        ask()
        deadline = time.monotonic() + 30
        while len(list((work / "outputs/x/checkpoints").glob("step_*.tar"))) <= number:
            assert time.monotonic() < deadline and not any(one.ended() for one in ranks), ranks[0].text()
            time.sleep(0.02)
        time.sleep(0.3)
        assert len(list((work / "outputs/x/checkpoints").glob("step_*.tar"))) == number + 1
    os.kill(ranks[1].pid, signal.SIGTERM)
    assert [one.finish()[0] for one in ranks] == [75, 75]
    assert "rank_1" in entries_of(work / "outputs/x/last.tar")["ranks_state_dict"]


@pytest.mark.slow
def test_a_name_in_use_is_refused_and_a_finished_run_says_so(work: Path, process: ForkServer) -> None:
    ranks = start_ranks(process, work, 2, *LONG)
    until_step(work, 2, ranks)
    codes, text = run_ranks(process, work, 2, *LONG, "resume=auto")
    assert codes == [2, 2] and text.count("is in use by") == 1, text
    codes, text = run_ranks(process, work, 2, *LONG)
    assert codes == [2, 2] and text.count("error: ") == 1, text
    os.kill(ranks[0].pid, signal.SIGTERM)
    assert [one.finish()[0] for one in ranks] == [75, 75]
    codes, text = run_ranks(process, work, 2, *TINY, "device=cpu", "max_steps=2", "name=y")
    assert codes == [0, 0], text
    codes, text = run_ranks(process, work, 2, "resume=outputs/y")
    assert codes == [0, 0] and text.count("is finished already") == 1, text


@pytest.mark.slow
def test_a_save_that_fails_is_everybodys_failure(work: Path, process: ForkServer) -> None:
    ranks = start_ranks(process, work, 2, *LONG, "checkpoint=every_n_steps", "checkpoint.every_steps=50")
    until_step(work, 2, ranks)
    shutil.rmtree(work / "outputs/x/checkpoints")
    (work / "outputs/x/checkpoints").write_text("in the way")
    ended = [one.finish() for one in ranks]
    assert [code for code, _ in ended] == [1, 1], ended
    assert "Traceback" not in ended[0][1] + ended[1][1], ended


@pytest.mark.slow
def test_a_stop_during_an_evaluation_is_agreed(work: Path, process: ForkServer) -> None:
    signalled = (
        "model=own", "model._target_=tests.own.signalled.Heavy", "data=own", "data._target_=tests.own.signalled.Data",
        "learner=own", "learner._target_=tests.own.signalled.Learner", "optimizer=adam", "epochs=3", "batch_size=8",
        "log_every=2", "tracker=csv", "checkpoint.keep_last=100", "device=cpu",
    )  # fmt: skip
    codes, text = run_ranks(process, work, 2, *signalled, "name=whole")
    assert codes == [0, 0], text
    for name, moment in (("a", "evaluation:2:SIGTERM"), ("b", "step:7:SIGTERM"), ("c", "test:1:SIGTERM")):
        codes, text = run_ranks(process, work, 2, *signalled, f"name={name}", variables={1: {"MOMENT": moment}})
        assert codes in ([75, 75], [0, 0]), text
        codes, text = run_ranks(process, work, 2, f"resume=outputs/{name}")
        assert codes == [0, 0], text
        assert_same_run(work / "outputs/whole", work / f"outputs/{name}")
