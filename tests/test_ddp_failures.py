"""A process of several that fails, dies or hangs ends all of them soon, and status.json names it."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from runner.run_directory.status import read_status
from tests.support.command_line import TINY
from tests.support.comparing import assert_same_run, entries_of
from tests.support.fork_server import ForkServer
from tests.support.processes import until
from tests.support.ranks import run_ranks, start_ranks

DISTURBED = (
    *TINY, "learner._target_=tests.own.ranks.Disturbed", "checkpoint=every_n_steps", "checkpoint.every_steps=1",
    "checkpoint.keep_last=100", "device=cpu", "strategy.timeout=3", "name=x",
)  # fmt: skip


def disturbed(
    process: ForkServer, work: Path, what: str, rank: int, *words: str, at: str = "4"
) -> tuple[list[int], str]:
    """Let one of two processes do something in the midst of a step; return the exit codes and what was printed."""
    variables = {rank: {"DO": what, "AT": at}}
    return run_ranks(process, work, 2, *DISTURBED, *words, variables=variables)


def status(work: Path) -> dict[str, str]:
    """Return what status.json says."""
    found: dict[str, str] = json.loads((work / "outputs/x/status.json").read_text())
    return found


def state_of(pid: int) -> str:
    """Return the kernel's letter for what a process does."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def assert_goes_on(process: ForkServer, work: Path) -> None:
    """Assert that the run, resumed, ends as one that was not disturbed."""
    codes, text = run_ranks(process, work, 2, "resume=outputs/x")
    assert codes == [0, 0], text
    codes, text = run_ranks(process, work, 2, *DISTURBED, "name=whole")
    assert codes == [0, 0], text
    assert_same_run(work / "outputs/whole", work / "outputs/x")


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_of_one_process_is_why_all_failed(work: Path, process: ForkServer, rank: int) -> None:
    codes, text = disturbed(process, work, "raise", rank)
    assert codes == [1, 1] and "frame #" not in text, text
    assert status(work)["state"] == "failed" and "this process has had enough" in status(work)["reason"]
    if rank:
        assert "rank 1: ValueError" in status(work)["reason"]
        assert "this process has had enough" in (work / "outputs/x/logs/rank_1.log").read_text()
    assert_goes_on(process, work)


@pytest.mark.slow
def test_a_process_whose_data_break_is_why_all_failed(work: Path, process: ForkServer) -> None:
    words = (*DISTURBED, "data._target_=tests.own.ranks.Failing")
    codes, text = run_ranks(process, work, 2, *words, variables={1: {"FAIL": "1"}})
    assert codes == [1, 1] and "frame #" not in text, text
    assert "rank 1: ValueError: a broken disk" in status(work)["reason"]


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_is_killed_ends_the_others(work: Path, process: ForkServer, rank: int) -> None:
    begun = time.monotonic()
    codes, text = disturbed(process, work, "kill", rank)
    assert codes[rank] == -signal.SIGKILL and codes[1 - rank] == 1, text
    assert time.monotonic() - begun < 25
    if rank:
        assert "rank 1" in status(work)["reason"] and "ended without a word" in status(work)["reason"]
    assert_goes_on(process, work)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_exits_amid_training_ends_the_others(work: Path, process: ForkServer, rank: int) -> None:
    codes, text = disturbed(process, work, "exit", rank)
    assert codes == [1, 1], text
    assert status(work)["state"] == "failed", status(work)
    assert "rank 1" in status(work)["reason"] if rank else "exit" in status(work)["reason"].lower()


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_vanishes_with_code_0_ends_the_others(work: Path, process: ForkServer, rank: int) -> None:
    codes, text = disturbed(process, work, "vanish", rank)
    assert codes[rank] == 0 and codes[1 - rank] == 1, text
    found = read_status(work / "outputs/x")
    assert found and found.state == ("failed" if rank else "interrupted")
    assert_goes_on(process, work)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_is_stopped_is_waited_for_no_longer_than_the_timeout(
    work: Path, process: ForkServer, rank: int
) -> None:
    ranks = start_ranks(process, work, 2, *DISTURBED, variables={rank: {"DO": "stop", "AT": "4"}})
    try:
        until(lambda: state_of(ranks[rank].pid) == "T")
        begun = time.monotonic()
        code, text = ranks[1 - rank].finish(60)
        assert code == 1 and time.monotonic() - begun < 3 + 15, text  # the timeout, and the search for who is to blame
        if rank:
            assert f"rank 1 (process {ranks[1].pid}) is stopped" in status(work)["reason"]
    finally:
        os.kill(ranks[rank].pid, signal.SIGCONT)
    code, text = ranks[rank].finish(60)
    assert code == 1, text


@pytest.mark.slow
def test_a_slow_process_is_waited_for(work: Path, process: ForkServer) -> None:
    codes, text = disturbed(process, work, "sleep", 1, at="2,3,4,5")
    assert codes == [0, 0], text


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_loss_that_is_not_finite_in_one_process_ends_or_is_skipped_in_all(
    work: Path, process: ForkServer, rank: int
) -> None:
    codes, text = disturbed(process, work, "nan", rank)
    assert codes == [1, 1] and "became nan" in status(work)["reason"], text
    codes, text = disturbed(process, work, "nan", rank, "name=y", "on_nonfinite=skip")
    assert codes == [0, 0] and text.count("update skipped") == 1, text
    assert entries_of(work / "outputs/y/last.tar")["global_step"] == 9
    codes, text = disturbed(process, work, "nan", rank, "name=z", "on_nonfinite=skip", "nonfinite_limit=2", at="4,5,6")
    assert codes == [1, 1], text


@pytest.mark.slow
def test_all_roll_back_from_a_loss_that_is_not_finite_in_one(work: Path, process: ForkServer) -> None:
    codes, text = disturbed(process, work, "once", 1, "on_nonfinite=rollback")
    assert codes == [0, 0] and "rolling back to" in text, text
    assert entries_of(work / "outputs/x/last.tar")["progress_state_dict"]["rollbacks"] == 1


@pytest.mark.slow
def test_a_spike_in_one_process_is_skipped_in_all(work: Path, process: ForkServer) -> None:
    words = ("on_spike=skip", "spike_factor=20", "epochs=13")
    codes, text = disturbed(process, work, "spike", 1, *words, at="35")
    assert codes == [0, 0] and text.count("is a spike above") == 1, text
