"""Runs of several processes on a stream: what they compute, what they go on from, and what they refuse."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from runner.models import Mlp
from tests.own.streams import Featured
from tests.support.command_line import cli
from tests.support.comparing import assert_same_run, entries_of, rows_of
from tests.support.fork_server import ForkServer
from tests.support.ranks import run_ranks, start_ranks
from tests.test_ddp_streams import UNEVEN, check_steps, read

COMMON = (
    "learner=own", "data=own", "epochs=null", "device=cpu", "tracker=csv", "scheduler=none", "eval_every=null",
    "checkpoint=every_n_steps", "checkpoint.every_steps=1", "checkpoint.keep_last=100",
)  # fmt: skip
OF_TESTS = "learner._target_=tests.own.learners.StoppableClassification"
MLP = ("model=mlp", "model.hidden=[4]")
FEATURED = (
    *COMMON,
    "data._target_=tests.own.streams.Featuring",
    "optimizer=sgd",
    "optimizer.lr=0.1",
    "optimizer.momentum=0",
)
NOISY = (*COMMON, *MLP, "data._target_=tests.own.streams.Streaming")


def ran(process: ForkServer, work: Path, size: int, *words: str) -> str:
    """Run so many processes, which must succeed, and return what they printed."""
    codes, text = run_ranks(process, work, size, *words)
    assert codes == [0] * size, text
    return text


def of_files(sizes: list[int], val: list[int]) -> tuple[str, str]:
    return f"+data.sizes={sizes}".replace(" ", ""), f"+data.val={val}".replace(" ", "")


def test_uneven_batches_have_the_losses_and_gradients_that_one_computes_by_hand(
    work: Path, process: ForkServer
) -> None:
    sizes = [3, 9, 2, 1, 5]
    steps = read(process, work, 2, sizes=sizes, workers=0, batch_size=5, accumulate=2, steps=9)
    batches = [sorted(batch.elements()) for batch in check_steps(steps, 2)]
    assert {len(batch) for batch in batches} == {5, 3, 2} and any(step["counts"] == [0, 0] for step in steps[0])
    words = ("batch_size=5", "accumulate=2", "max_steps=9", "log_every=1", "name=x", OF_TESTS)
    ran(process, work, 2, *FEATURED, *MLP, *of_files(sizes, [5]), *words)
    model = Mlp(in_features=4, num_classes=2, hidden=[4])
    saved = [entries_of(work / f"outputs/x/checkpoints/step_{step:010d}.tar") for step in range(1, 10)]
    model.load_state_dict(saved[0]["model_state_dict"])
    rows = {int(row["step"]): float(row["train/loss"]) for row in rows_of(work / "outputs/x")}
    for step in range(1, 9):
        pairs = [Featured([1]).sample(number, 0, 1) for number in batches[step]]
        inputs, targets = (torch.stack(column) for column in zip(*pairs, strict=True))
        model.zero_grad()
        loss = cross_entropy(model(inputs), targets)
        loss.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.1 * parameter.grad
        assert rows[step + 1] == pytest.approx(float(loss.detach()), rel=1e-5)
        for name, value in model.state_dict().items():
            assert torch.allclose(value, saved[step]["model_state_dict"][name], atol=1e-6), (step, name)


def test_a_stand_in_counts_for_no_running_statistic(work: Path, process: ForkServer) -> None:
    model = ("model=own", "model._target_=tests.own.ranks.LateNorm")
    words = ("batch_size=4", "max_steps=6", "name=x", OF_TESTS)
    ran(process, work, 2, *FEATURED, *model, *of_files([4, 12], [5]), *words)
    entries = entries_of(work / "outputs/x/last.tar")
    assert entries["epoch"] == 1 and int(entries["model_state_dict"]["layers.0.num_batches_tracked"]) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "val", "words"),
    [
        (2, UNEVEN, ()),
        (3, [9, 1], ("data.workers=1",)),  # one rank has no sample
        (2, [1, 9], ("strategy=fsdp", "strategy.units=[Linear]")),
        (2, [9], ("strategy=fsdp", "strategy.units=[Linear]")),
    ],
)
def test_the_metrics_of_a_stream_are_those_of_one_process(
    work: Path, process: ForkServer, capsys: Any, size: int, val: list[int], words: tuple[str, ...]
) -> None:
    judged = "learner._target_=tests.own.figures.JudgedTogether"
    words = (*FEATURED, *MLP, *of_files(UNEVEN, val), *words, judged, "batch_size=4", "max_steps=3", "name=x")
    ran(process, work, size, *words)
    measured = entries_of(work / "outputs/x/last.tar")["metrics"]
    outcome = cli(capsys, "task=evaluate", "checkpoint_path=outputs/x/last.tar", "strategy=single", "data.workers=0")
    assert outcome.code == 0, outcome.err
    one = json.loads(outcome.out.splitlines()[-1])
    assert {*measured} == {"val/loss", "val/accuracy", "val/f1", "val/f1_of_rows", "val/worst"}
    for name, value in measured.items():
        assert value == pytest.approx(one[name.removeprefix("val/")], rel=1e-5), name


EVERYTHING = ("model.dropout=0.3", "ema.decay=0.9", "accumulate=2", "batch_size=5", "max_steps=12", "log_every=2")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "words"),
    [
        (2, ("+data.val=shards", "eval_every=3")),
        (3, ("+data.kind=shuffled", "data.workers=2")),
        (2, ("+data.kind=mixed", "data.workers=1", "max_steps=24")),
        (2, ("strategy=fsdp", "strategy.units=[Linear]", "+data.val=shards")),
        (2, ("debug.limit_train=2", "data.workers=2")),
        (2, ("learner._target_=tests.own.learners.Leading",)),  # stand-ins are in its state
    ],
)
def test_killed_at_any_step_the_same_command_reaches_the_same_bits(
    work: Path, process: ForkServer, size: int, words: tuple[str, ...]
) -> None:
    words = (*NOISY, OF_TESTS, *EVERYTHING, *words)
    ran(process, work, size, *words, "name=whole")
    assert entries_of(work / "outputs/whole/last.tar")["epoch"] > 0
    for step in (2, 5, 7):
        deaths = {rank: {"KILL_AT": str(step)} for rank in range(size)}
        ranks = start_ranks(process, work, size, *words, "name=x", "resume=auto", variables=deaths)
        assert [rank.finish(120)[0] for rank in ranks] == [-9] * size
    ran(process, work, size, *words, "name=x", "resume=auto")
    assert_same_run(work / "outputs/whole", work / "outputs/x")


@pytest.mark.slow
def test_a_limit_of_samples_counts_those_of_all_ranks(work: Path, process: ForkServer) -> None:
    words = (*FEATURED, *MLP, *of_files(UNEVEN, [5]), OF_TESTS, "batch_size=5", "max_samples=21", "max_steps=null")
    ran(process, work, 3, *words, "name=x")
    entries = entries_of(work / "outputs/x/last.tar")
    assert entries["epoch"] == 1 and entries["progress_state_dict"]["counts"] == {"samples": 19 + 5}


@pytest.mark.slow
def test_a_stream_of_other_processes_or_workers_is_refused(work: Path, process: ForkServer) -> None:
    ran(process, work, 2, *NOISY, OF_TESTS, "batch_size=4", "max_steps=3", "name=x")
    ran(process, work, 1, *NOISY, OF_TESTS, "batch_size=4", "max_steps=3", "name=one", "strategy=auto")
    for size, run, more, sentence in (
        (3, "x", (), "state in 2 processes, and the run has 3 processes; start it with torchrun --nproc-per-node=2"),
        (1, "x", (), "state in 2 processes, and the run has one process; start it with torchrun --nproc-per-node=2"),
        (2, "one", ("strategy=ddp",), "state in one process, and the run has 2 processes; start it without torchrun"),
        (2, "x", ("data.workers=2",), "in 1 workers, and the run has 2; add data.workers=1"),
    ):
        codes, text = run_ranks(process, work, size, f"resume=outputs/{run}", "max_steps=5", *more)
        assert codes == [2] * size and text.count(sentence) == 1 and "Traceback" not in text, text
    ran(process, work, 2, "resume=outputs/x", "max_steps=5")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("batch_size=1",), "batch_size=1 gives no sample of a stream to one of 2 processes; use batch_size=2"),
        (("+data.kind=restarting",), "the stream Restarting gives other samples after load_state_dict"),
        (("+data.kind=finite",), "Finite is iterable and has no state"),
    ],
)
def test_what_a_stream_cannot_do_is_said_once(
    work: Path, process: ForkServer, words: tuple[str, ...], sentence: str
) -> None:
    codes, text = run_ranks(process, work, 2, *NOISY, OF_TESTS, "batch_size=4", "max_steps=3", *words)
    assert codes == [2, 2] and text.count(sentence) == 1 and "Traceback" not in text, text
    assert not (work / "outputs").exists()


@pytest.mark.slow
def test_an_empty_epoch_ends_all_ranks_in_one_sentence(work: Path, process: ForkServer) -> None:
    codes, text = run_ranks(process, work, 2, *NOISY, OF_TESTS, "+data.kind=once", "batch_size=4", "max_steps=30")
    assert codes == [1, 1] and text.count("the stream Once gives no sample in epoch 1") == 1, text


@pytest.mark.slow
def test_a_stream_that_is_not_divided_over_the_ranks_is_noticed(work: Path, process: ForkServer) -> None:
    words = ("batch_size=4", "max_steps=2")
    said = ran(process, work, 2, *NOISY, OF_TESTS, "+data.kind=undivided", *words)
    assert said.count("begins with the same samples in ranks 0 and 1") == 1
    said = ran(process, work, 2, *NOISY, OF_TESTS, "+data.kind=shards", *words)
    assert "begins with the same" not in said and "no sample" not in said
    said = ran(process, work, 2, *FEATURED, *MLP, *of_files([9], [3]), OF_TESTS, *words)
    assert said.count("gives rank 1 no sample, so it computes with stand-ins") == 1 and "the same" not in said


@pytest.mark.slow
def test_a_stop_of_one_rank_stops_all_at_one_step_and_a_resume_is_exact(work: Path, process: ForkServer) -> None:
    words = (*NOISY, OF_TESTS, *EVERYTHING, "+data.val=shards", "eval_every=1", "data.workers=1")
    ran(process, work, 2, *words, "name=whole")
    codes, text = run_ranks(process, work, 2, *words, "name=x", variables={1: {"STOP_AT": "4"}})
    assert codes == [75, 75], text
    ran(process, work, 2, "resume=outputs/x")
    assert_same_run(work / "outputs/whole", work / "outputs/x")


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("epoch", [0, 1])
def test_a_stream_that_breaks_in_one_rank_ends_all(work: Path, process: ForkServer, epoch: int, workers: int) -> None:
    words = (*NOISY, OF_TESTS, "+data.kind=breaking", "batch_size=4", "max_steps=30", f"data.workers={workers}")
    started = time.monotonic()
    codes, text = run_ranks(process, work, 2, *words, "name=x", variables={1: {"BREAK_AT": str(epoch)}})
    assert 0 not in codes and "a broken disk" in text and time.monotonic() - started < 60, text
    assert (work / "outputs/x/last.tar").exists() is (epoch == 1)
