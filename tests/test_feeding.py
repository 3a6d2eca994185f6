"""Where memory runs out, the gradient is computed again in smaller micro-batches, as if they had been asked for."""

from pathlib import Path
from typing import Any

import pytest

from runner.errors import ConfigError
from runner.strategy.processes import Alone
from runner.wiring.build.objects import choose_strategy
from tests.support.command_line import cli, config_of
from tests.support.comparing import assert_same_run, difference, entries_of

# 3 epochs of 2 steps of 10 samples: BatchNorm, dropout, and a learner with a state.
DATA = (
    "data=own", "data._target_=tests.own.points.NoisyPoints", "learner=own",
    "learner._target_=tests.own.learners.Hungry", "optimizer=adam", "epochs=3", "batch_size=10", "log_every=2",
    "tracker=csv", "checkpoint.keep_last=100", "device=cpu",
)  # fmt: skip
HUNGRY = (*DATA, "model=own", "model._target_=tests.own.backbone.Backbone")
PARTS = ("model", "optimizer", "scheduler", "learner", "rng", "data")


@pytest.mark.parametrize("guard", [(), pytest.param(("on_nonfinite=skip", "data.workers=1"), marks=pytest.mark.slow)])
def test_a_run_goes_on_as_one_whose_micro_batches_were_made_smaller_at_that_step(
    runs: Path, capsys: Any, monkeypatch: Any, guard: tuple[str, ...]
) -> None:
    auto = ("micro_batch_size=auto", "+learner.room=5", "+learner.since=3")
    outcome = cli(capsys, *HUNGRY, *guard, *auto, "name=x")
    assert outcome.code == 0, outcome.err
    said = "out of memory in step 4: accumulate=2 from here on, in micro-batches of at most 5 samples"
    assert outcome.out.count(said) == outcome.out.count("out of memory") == 1
    monkeypatch.setenv("STOP_AT", "2")
    assert cli(capsys, *HUNGRY, *guard, "+learner.room=10", "name=y").code == 75
    assert cli(capsys, "resume=outputs/y", "accumulate=2").code == 0
    one, other = (entries_of(runs / name / "last.tar") for name in "xy")
    for part in PARTS:
        assert difference(one[f"{part}_state_dict"], other[f"{part}_state_dict"]) is None, part
    assert one["progress_state_dict"]["accumulate"] == 2 and other["progress_state_dict"]["accumulate"] == 1


def test_a_resume_begins_with_what_was_found_and_is_exact(runs: Path, capsys: Any, monkeypatch: Any) -> None:
    words = (*HUNGRY, "micro_batch_size=auto", "+learner.room=2")
    outcome = cli(capsys, *words, "name=whole")
    assert outcome.code == 0 and outcome.out.count("out of memory in step 1: accumulate=") == 3
    monkeypatch.setenv("STOP_AT", "2")
    assert cli(capsys, *words, "name=x").code == 75
    monkeypatch.delenv("STOP_AT")
    outcome = cli(capsys, "resume=outputs/x")
    assert outcome.code == 0 and "out of memory" not in outcome.out and "exact" not in outcome.out
    assert_same_run(runs / "whole", runs / "x")


def test_one_sample_that_is_too_much_ends_the_run(runs: Path, capsys: Any) -> None:
    outcome = cli(capsys, *DATA, "model=mlp", "micro_batch_size=auto", "+learner.room=0", "name=x")
    assert outcome.code == 1 and "no room for 1 samples" in outcome.out


def test_without_it_a_start_says_what_is_too_much(work: Path, capsys: Any) -> None:
    outcome = cli(capsys, *HUNGRY, "+learner.room=5")
    assert outcome.code == 2 and "OutOfMemoryError: no room for 10 samples" in outcome.err
    assert not list(work.iterdir())


def test_a_stream_and_several_processes_are_refused(monkeypatch: pytest.MonkeyPatch, capsys: Any, work: Path) -> None:
    stream = ("data=own", "data._target_=tests.own.streams.Streaming", "model=mlp", "max_steps=2", "epochs=null")
    outcome = cli(capsys, *stream, "micro_batch_size=auto")
    assert outcome.code == 2 and "which a stream cannot give; use accumulate=2" in outcome.err, outcome.err
    monkeypatch.setattr(Alone, "size", 2)
    with pytest.raises(ConfigError, match="is for one process"):
        choose_strategy(config_of("micro_batch_size=auto", "device=cpu"), {}, Alone())
