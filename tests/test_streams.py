"""Streams: exact from any batch on, in any number of epochs and workers."""

import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import IterableDataset, get_worker_info

from runner.data.loaders.batches import Batch
from runner.data.loaders.delivery import Loading
from runner.data.streams.combined import Mixed
from runner.data.streams.loading import StreamLoader
from runner.errors import ConfigError
from tests.own.streams import STREAMS
from tests.support.command_line import cli
from tests.support.comparing import difference, entries_of

STEPS = 12


def loader(kind: str, workers: int = 0, **settings: Any) -> StreamLoader:
    return StreamLoader(STREAMS[kind](), Loading(4, workers=workers), seed=3, **settings)


def content(batch: Batch) -> Any:
    return [*batch.parts, batch.counts, batch.ends_epoch]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["shards", "shuffled", "mixed"])
def test_from_every_step_on_the_batches_are_those_of_an_uninterrupted_run(kind: str, workers: int) -> None:
    check_every_step(lambda: loader(kind, workers), STEPS, epochs=0 if kind == "mixed" else 2)


def check_every_step(make: Callable[[], StreamLoader], steps: int, *, epochs: int) -> None:
    """Assert that a loader restored at any step, with workers at some, goes on as if nothing had been."""
    made = make()
    position, epoch, states, whole = made.position(), 0, [], []
    for batch in islice(made.batches(position, epoch=0), steps):
        states.append((epoch, position.state_dict()))
        whole.append(content(batch))
        epoch += position.advance(batch)
    assert epoch >= epochs
    for step, (epoch, state) in list(enumerate(states))[:: 1 + 2 * made.loading.workers]:
        made = make()
        position = made.position()
        position.load_state_dict(state)
        rest = [content(batch) for batch in islice(made.batches(position, epoch=epoch), steps - step)]
        assert difference(rest, whole[step:]) is None, step


class Count(IterableDataset[int]):
    """Counts from a number on, in the first of several workers only; may be stopped anywhere."""

    def __init__(self, first: int, count: int) -> None:
        self.first, self.count, self.place = first, count, 0

    def __iter__(self) -> Iterator[int]:
        info = get_worker_info()
        while self.place < (self.count if info is None or info.id == 0 else 0):
            self.place += 1
            yield self.first + self.place - 1
        self.place = 0

    def state_dict(self) -> dict[str, int]:
        return {"place": self.place}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.place = state["place"]


def mixture() -> Mixed:
    return Mixed({"long": Count(0, 30), "short": Count(100, 7)}, {"long": 1, "short": 1})


def test_a_mixture_sees_every_sample_and_keeps_its_weights() -> None:
    torch.manual_seed(0)
    mixed = mixture()
    epochs = [list(mixed) for _ in range(6)]
    assert {*epochs[0]} == {*range(30), *range(100, 107)}
    whole = [number for epoch in epochs for number in epoch]
    assert [number for number in whole if number < 100] == [place % 30 for place in range(len(whole))][
        : sum(number < 100 for number in whole)
    ]
    assert sum(number < 100 for number in whole) / len(whole) == pytest.approx(0.5, abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_a_mixture_without_a_share_in_a_worker_is_exact(workers: int) -> None:
    def made() -> StreamLoader:
        return StreamLoader(mixture(), Loading(5, workers=workers), seed=1)

    check_every_step(made, 30, epochs=2)


def test_what_mixed_takes_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match=r"Mixed\(\{'a': one"):
        Mixed([Count(0, 1)], [0.5])  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="the weight of a is 0"):
        Mixed({"a": Count(0, 1)}, {"a": 0})


def test_predictions_of_a_stream_are_in_its_order(runs: Path, capsys: Any) -> None:
    run(capsys, *WORDS, "+data.val=shards", "data.workers=2", "name=x")
    run(capsys, "task=predict", "checkpoint_path=outputs/x", "output=two.csv")
    run(capsys, "task=predict", "checkpoint_path=outputs/x", "data.workers=0", "output=none.csv")
    assert Path("two.csv").read_text() == Path("none.csv").read_text()


WORDS = (
    "model=mlp", "model.hidden=[4]", "data=own", "data._target_=tests.own.streams.Streaming", "max_steps=9",
    "batch_size=4", "device=cpu", "tracker=csv", "scheduler=none", "eval_every=4", "checkpoint=every_n_steps",
    "checkpoint.every_steps=1", "checkpoint.keep_last=9",
)  # fmt: skip


def run(capsys: Any, *words: str) -> str:
    """Call the program, which must succeed, and return what it printed."""
    outcome = cli(capsys, *words)
    assert outcome.code == 0, outcome.err
    return outcome.out


@pytest.mark.slow
@pytest.mark.parametrize("words", [("+data.kind=mixed",), ("data.workers=2", "accumulate=2", "+data.val=shards")])
def test_a_run_on_a_stream_resumes_to_the_same_bits(runs: Path, capsys: Any, words: tuple[str, ...]) -> None:
    run(capsys, *WORDS, *words, "name=whole")
    whole = entries_of(runs / "whole/last.tar")
    assert whole["global_step"] == 9
    for step in (1, 4, 6):
        run(capsys, f"resume={runs}/whole/checkpoints/step_{step:010d}.tar", f"name=from_{step}")
        assert difference(entries_of(runs / f"from_{step}/last.tar"), whole) is None, step


def test_a_state_of_other_workers_is_refused(runs: Path, capsys: Any) -> None:
    run(capsys, *WORDS, "data.workers=2", "name=x", "max_steps=3")
    outcome = cli(capsys, "resume=outputs/x", "data.workers=0", "max_steps=5")
    assert outcome.code == 2 and "data.workers=2" in outcome.err, outcome.err
    run(capsys, "resume=outputs/x", "max_steps=5")


def test_an_evaluation_of_a_stream_is_the_mean_over_its_samples(runs: Path, capsys: Any) -> None:
    run(capsys, *WORDS, "+data.val=finite", "name=x")
    said = [
        json.loads(
            run(capsys, "task=evaluate", "checkpoint_path=outputs/x", f"data.workers={workers}").splitlines()[-1]
        )
        for workers in (0, 2)
    ]
    assert said[0]["accuracy"] * 11 == pytest.approx(round(said[0]["accuracy"] * 11))
    assert said[0]["accuracy"] == pytest.approx(said[1]["accuracy"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("+data.kind=finite",), "Finite is iterable and has no state"),
        (("+data.kind=restarting",), "the stream Restarting gives other samples"),
        (("+data.kind=too_late",), "the stream TooLate gives other samples"),
        (("+data.kind=private",), "the stream Private gives other samples"),
        (("epochs=3",), "set the length with max_steps"),
        (("data.drop_last=true",), "which a stream does not tell; leave it out"),
        (("on_nonfinite=rollback",), "use on_nonfinite=skip"),
        (("on_spike=rollback",), "use on_spike=skip"),
        (("scheduler=cosine", "scheduler.unit=epoch"), "with scheduler.unit=step"),
        (("optimizer.freeze=[layers.1]", "optimizer.unfreeze_at=2"), "counts epochs, whose steps a stream does not"),
    ],
)
def test_what_a_stream_cannot_do_is_one_sentence(runs: Path, capsys: Any, words: tuple[str, ...], said: str) -> None:
    outcome = cli(capsys, *WORDS, *words)
    assert outcome.code == 2 and said in outcome.err and not runs.exists(), outcome.err


def test_an_empty_epoch_ends_the_run_in_one_sentence(runs: Path, capsys: Any) -> None:
    outcome = cli(capsys, *WORDS, "+data.kind=once", "name=x")
    assert outcome.code == 1 and "the stream Once gives no sample in epoch 1" in outcome.out
    assert (runs / "x/last.tar").exists()


def test_a_shortened_stream_is_found_exact(runs: Path, capsys: Any) -> None:
    run(capsys, *WORDS, "debug.limit_train=2", "name=x")
    assert entries_of(runs / "x/last.tar")["epoch"] == 4
    run(capsys, f"resume={runs}/x/checkpoints/step_0000000003.tar", "name=y")
    assert difference(entries_of(runs / "y/last.tar"), entries_of(runs / "x/last.tar")) is None


def test_a_learner_that_forgets_a_value_is_named(runs: Path, capsys: Any) -> None:
    outcome = cli(capsys, *WORDS, "learner=own", "learner._target_=tests.own.learners.Forgetful")
    assert outcome.code == 2 and "Forgetful.load_state_dict does not restore seen" in outcome.err, outcome.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("+data.kind=restarting",), "the stream Restarting gives other samples"),
        (("learner=own", "learner._target_=tests.own.learners.Forgetful"), "Forgetful.load_state_dict"),
    ],
)
def test_a_check_of_the_resume_names_the_guilty_part(
    runs: Path, capsys: Any, words: tuple[str, ...], said: str
) -> None:
    outcome = cli(capsys, *WORDS, *words, "task=check_resume")
    assert outcome.code == 2 and said in outcome.err and not list(runs.glob("*/")), outcome.err
