"""A model divided over processes: the same file, in the same names and shapes, and the same promises."""

import json
import os
import random
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from runner.checkpoint.format import read_entries
from runner.checkpoint.listing import checkpoint_path, step_files
from runner.checkpoint.sharded.opening import verify
from runner.checkpoint.writer.whole import write_sharded
from runner.commands.tools.verify import verify_command
from runner.files import Disk
from runner.run_directory.status import read_status
from tests.support.command_line import TINY
from tests.support.comparing import assert_same_run, difference, entries_of
from tests.support.fork_server import ForkServer
from tests.support.ranks import run_ranks, start_ranks

FSDP = ("strategy=fsdp", "strategy.units=[Linear]", "device=cpu")
EVERYTHING = (*TINY, "ema.decay=0.9", "scheduler=cosine", "scheduler.warmup=1")


@pytest.mark.slow
@pytest.mark.parametrize("words", [("clip_norm=1",), ("on_nonfinite=skip", "device.precision=bf16")])
def test_a_resume_is_exact(work: Path, process: ForkServer, words: tuple[str, ...]) -> None:
    codes, text = run_ranks(process, work, 2, *EVERYTHING, *FSDP, *words, "name=whole")
    assert codes == [0, 0], text
    codes, text = run_ranks(process, work, 2, *EVERYTHING, *FSDP, *words, "name=x", variables={1: {"STOP_AT": "3"}})
    assert codes == [75, 75], text
    codes, text = run_ranks(process, work, 2, "resume=outputs/x")
    assert codes == [0, 0], text
    assert_same_run(work / "outputs/whole", work / "outputs/x")


SHARDED = (*FSDP, "checkpoint.form=sharded", "checkpoint.every_steps=2")


@pytest.mark.slow
@pytest.mark.parametrize("words", [("checkpoint.asynchronous=false",), ("clip_norm=1", "checkpoint.keep_last=3")])
def test_a_sharded_run_is_the_run_and_its_resume_is_exact(
    work: Path, process: ForkServer, words: tuple[str, ...]
) -> None:
    for name, form in (("file", FSDP), ("sharded", SHARDED)):
        codes, text = run_ranks(process, work, 2, *EVERYTHING, *form, *words, f"name={name}")
        assert codes == [0, 0], text
    assert_same_run(work / "outputs/file", work / "outputs/sharded")
    figures = [process.run(work, "task=evaluate", f"checkpoint_path=outputs/{name}") for name in ("file", "sharded")]
    assert all(code == 0 for code, _ in figures), figures  # one process evaluates what two have trained
    assert len({json.loads(text.splitlines()[-1])["loss"] for _, text in figures}) == 1
    codes, text = run_ranks(process, work, 2, *EVERYTHING, *SHARDED, *words, "name=x", variables={1: {"STOP_AT": "3"}})
    assert codes == [75, 75], text
    codes, text = run_ranks(process, work, 2, "resume=outputs/x/last.tar")
    assert codes == [0, 0], text
    assert_same_run(work / "outputs/sharded", work / "outputs/x")


OWN = ("data=own", "data._target_=tests.own.points.NoisyPoints", "model=own", "device=cpu", "tracker=none")


@pytest.mark.slow
def test_buffers_of_every_dtype_are_shared_saved_and_restored(work: Path, process: ForkServer) -> None:
    words = (*SHARDED, *OWN, "model._target_=tests.own.ranks.Odd", "batch_size=10", "epochs=null", "name=x")
    codes, text = run_ranks(process, work, 2, *words, "max_steps=2")
    assert codes == [0, 0], text
    codes, text = run_ranks(process, work, 2, "resume=outputs/x", "max_steps=4", "trust=[tests]")
    assert codes == [0, 0], text
    state = read_entries(work / "outputs/x/last.tar")["model_state_dict"]
    assert torch.equal(state["of_float8_e4m3fn"].float(), torch.ones(3))


@pytest.mark.slow
def test_a_converted_checkpoint_resumes_exactly_where_processes_have_other_tensors(
    work: Path, process: ForkServer
) -> None:
    words = (*EVERYTHING, *FSDP, "learner._target_=tests.own.ranks.Uneven", "checkpoint.every_steps=3")
    codes, text = run_ranks(process, work, 2, *words, "name=whole")
    assert codes == [0, 0], text
    entries = read_entries(checkpoint_path(work / "outputs/whole", 3))
    assert "seen" in entries["ranks_state_dict"]["rank_1"]["learner"]
    write_sharded(work / "pieces.tar", entries, 300, Disk())
    codes, text = run_ranks(process, work, 2, "resume=pieces.tar", "name=x", "trust=[tests]")
    assert codes == [0, 0], text
    whole, resumed = (entries_of(work / f"outputs/{name}/last.tar") for name in ("whole", "x"))
    assert difference(whole, resumed) is None


def test_what_fails_in_one_process_before_the_first_step_leaves_no_other_waiting(
    work: Path, process: ForkServer
) -> None:
    words = (*OWN, "model._target_=tests.own.ranks.Normed", "batch_size=8", "epochs=1", "name=x")
    codes, text = run_ranks(process, work, 3, *FSDP, *words)  # the last batch leaves one sample to two of three
    assert 0 not in codes and "one sample is left alone" in text, text
    assert run_ranks(process, work, 2, *FSDP, *words)[0] == [0, 0]  # two samples for each


DISTURBED = ("learner._target_=tests.own.ranks.Disturbed", "model.hidden=[512]", "name=x")


def test_a_shard_that_cannot_be_written_fails_the_save_in_all_processes(work: Path, process: ForkServer) -> None:
    variables = {1: {"DO": "full", "AT": "3"}}
    codes, text = run_ranks(process, work, 2, *EVERYTHING, *SHARDED, *DISTURBED, variables=variables)
    assert codes == [1, 1] and "a shard failed on rank 1" in text and "File too large" in text, text
    assert max(file.step for file in step_files(work / "outputs/x")) < 4
    assert verify_command([str(work / "outputs/x")], as_json=False) == 0


def test_a_failed_save_is_borne_by_all_processes(work: Path, process: ForkServer) -> None:
    words, variables = ("checkpoint.on_error=warn", "checkpoint.error_limit=99"), {1: {"DO": "full", "AT": "3"}}
    codes, text = run_ranks(process, work, 2, *EVERYTHING, *SHARDED, *DISTURBED, *words, variables=variables)
    assert "training goes on (failure 1" in text and "step 9/9" in text, text
    assert codes == [1, 1]  # the last one failed, too


def test_a_number_that_is_not_finite_in_one_shard_is_saved_by_none(work: Path, process: ForkServer) -> None:
    words = ("model=own", "model._target_=tests.own.ranks.Idle", "strategy.find_unused=true", *DISTURBED[:1], "name=x")
    variables = {1: {"DO": "spoil", "AT": "3"}}
    codes, text = run_ranks(process, work, 2, *EVERYTHING[3:], *SHARDED, *words, variables=variables)
    assert codes == [1, 1] and "_state_dict.idle became NaN or infinite and was not saved" in text, text
    assert max(file.step for file in step_files(work / "outputs/x")) == 3
    assert verify_command([str(work / "outputs/x")], as_json=False) == 0


def test_without_a_divided_model_a_checkpoint_is_one_file_and_that_is_said(work: Path, process: ForkServer) -> None:
    code, text = process.run(work, *TINY, "checkpoint.form=sharded", "max_steps=1", "name=x")
    assert code == 0 and "strategy=single divides nothing" in text
    assert (work / "outputs/x/last.tar").is_file()


@pytest.mark.slow
def test_kills_at_any_moment_leave_whole_directories_and_the_run_goes_on_exactly(
    work: Path, process: ForkServer
) -> None:
    words = (*EVERYTHING, *SHARDED, "checkpoint.every_steps=1", "checkpoint.keep_last=3")
    codes, text = run_ranks(process, work, 2, *words, "name=whole")
    assert codes == [0, 0], text
    draw, kills = random.Random(4), 0
    while kills < 8:
        ranks = start_ranks(process, work, 2, *words, "name=x", "resume=auto")
        time.sleep(draw.uniform(1.2, 2.6))
        victims = draw.choice([ranks, ranks[:1], ranks[1:]])
        for one in (*victims, *ranks):  # torchrun, too, ends the others
            with suppress(ProcessLookupError):
                os.killpg(one.pid, signal.SIGKILL)
        kills += sum(not one.ended() for one in ranks) > 0
        assert all([one.finish()[0] is not None for one in ranks])
        for file in step_files(work / "outputs/x"):
            verify(file.path)
        if read_status_of(work) == "finished":
            shutil.rmtree(work / "outputs/x")
    codes, text = run_ranks(process, work, 2, *words, "name=x", "resume=auto")
    assert codes == [0, 0], text
    assert_same_run(work / "outputs/whole", work / "outputs/x")
    assert not list((work / "outputs/x/checkpoints").glob(".*"))


def read_status_of(work: Path) -> str | None:
    """Return the state of the run, None before it has one."""
    status = read_status(work / "outputs/x")
    return None if status is None else status.state
