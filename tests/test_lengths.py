"""Lengths in the units of the field, in whole runs: each is resumed bit for bit, or refused in a sentence."""

import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from runner.checkpoint.policies import Mode
from runner.data.loaders.batches import Batch
from runner.errors import ConfigError
from runner.loop import guard
from runner.loop.answers import tokens_of
from runner.loop.guard import SkippingSpikes, Trusting
from runner.loop.stopping import EarlyStopping
from runner.progress import Progress
from runner.strategy.precision import Precision
from runner.strategy.processes import Alone
from runner.wiring.build.loaders import Position, counted_limits, horizon_of, loaders
from tests.own.points import NoisyPoints
from tests.support.command_line import TINY, cli, config_of
from tests.support.comparing import assert_same_run, difference, entries_of, rows_of

LATER = ("improved_metric", "counts", "recent_losses", "accumulate")
"""Counters that files of older versions lack."""


def train(capsys: Any, monkeypatch: Any, name: str, *words: str, stop: int | None = None) -> str:
    """Start or go on with a run of 3 epochs of 3 steps, stopped in the step after `stop`; return what it said."""
    monkeypatch.setenv("STOP_AT", "never" if stop is None else str(stop))
    outcome = cli(capsys, *TINY, *words, f"name={name}", "resume=auto")
    assert outcome.code == (0 if stop is None else 75), outcome.err + outcome.out
    return outcome.out


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("clip_value=0.01", "scheduler=inverse_sqrt", "epochs=null", "max_steps=8"),
        ("scheduler=warmup_stable_decay", "scheduler.shape=sqrt"),
        ("scheduler=cosine_restarts", "scheduler.unit=step", "scheduler.period=2", "scheduler.mult=2"),
    ],
    ids=" ".join,
)
def test_a_run_is_resumed_bit_for_bit(runs: Path, capsys: Any, monkeypatch: Any, words: Sequence[str]) -> None:
    train(capsys, monkeypatch, "whole", *words)
    for step in (1, 4):
        train(capsys, monkeypatch, f"s{step}", *words, stop=step)
        train(capsys, monkeypatch, f"s{step}", *words)
        assert_same_run(runs / "whole", runs / f"s{step}")


def test_clipping_by_value_and_by_norm_are_one_or_the_other(runs: Path, capsys: Any) -> None:
    outcome = cli(capsys, *TINY, "clip_value=1", "clip_norm=1", "name=x")
    assert outcome.code == 2 and "use one of clip_value and clip_norm" in outcome.err and not runs.exists()
    assert cli(capsys, *TINY, "clip_norm=1", "max_steps=1", "name=x").code == 0
    changed = cli(capsys, "resume=outputs/x", "clip_norm=null", "clip_value=1e-9", "max_steps=2")
    assert changed.code == 0 and "clip_value | null | 1e-09 | takes effect" in changed.out


def test_every_model_of_a_run_is_clipped(runs: Path, capsys: Any) -> None:
    words = (
        "experiment=gan_digits", "model.generator.latent=4", "learner.latent=4", "data=synthetic", "data.size=8",
        "data.shape=[1,16,16]", "batch_size=8", "epochs=1", "tracker=none",
        "scheduler=none",
    )  # fmt: skip
    for name, size in (("x", "1e-30"), ("y", "null")):
        assert cli(capsys, *words, f"clip_value={size}", f"name={name}").code == 0
    clipped, free = (entries_of(runs / f"{name}/last.tar") for name in ("x", "y"))
    for model in ("generator_state_dict", "discriminator_state_dict"):
        assert any(not clipped[model][key].equal(free[model][key]) for key in free[model])


# Losses by step, from 1 on: 5 3 4 6 5 2 4 4..., evaluated each step, three steps an epoch.
HILLS = (
    "model=own", "model._target_=tests.own.hills.Stepping", "data=own", "data._target_=tests.own.points.NoisyPoints",
    "learner=own", "learner._target_=tests.own.hills.Hills", "+learner.at=99", "batch_size=8", "eval_every=1",
    "tracker=csv", "checkpoint.every_steps=1", "device=cpu", "epochs=3", "scheduler=none",
    "trust=[tests]",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "step"),
    [
        (("early_stopping.patience=3", "early_stopping.min_delta=2.5"), 4),
        (("early_stopping.patience=3", "early_stopping.min_delta=1.5"), 5),
        (("early_stopping.patience=3", "early_stopping.min_delta=2.5", "early_stopping.min_epochs=2"), 9),
        (("early_stopping.threshold=3",), 2),
        (("early_stopping.threshold=2.5",), 6),
        (("early_stopping.threshold=4.5", "early_stopping.min_epochs=1"), 3),
    ],
    ids=str,
)
def test_a_run_stops_early_where_its_metric_says_also_over_a_resume(
    runs: Path, capsys: Any, words: Sequence[str], step: int
) -> None:
    assert cli(capsys, *HILLS, *words, "name=whole").code == 0
    whole = entries_of(runs / "whole/last.tar")
    assert whole["global_step"] == step and entries_of(runs / "whole/best.tar")["metrics"]["val/loss"] <= 3
    assert cli(capsys, *HILLS, *words, "name=x", f"max_steps={step - 1}").code == 0
    assert cli(capsys, "resume=outputs/x", "max_steps=9", "trust=[tests]").code == 0
    assert difference(whole, entries_of(runs / "x/last.tar")) is None


def test_a_threshold_is_reached_from_its_side() -> None:
    progress = Progress(metrics={"val/accuracy": 0.99}, evaluated_at=1)
    for mode, threshold, due in ((Mode.max, 0.99, True), (Mode.max, 0.995, False), (Mode.min, 0.9, False)):
        rule = EarlyStopping("val/accuracy", mode, patience=None, min_epochs=0, threshold=threshold)
        assert rule.due(progress) is due
    assert not EarlyStopping("val/loss", Mode.min, patience=None, min_epochs=0, threshold=1.0).due(progress)


def test_a_run_that_reached_its_threshold_says_how_to_go_on(runs: Path, capsys: Any) -> None:
    assert cli(capsys, *HILLS, "early_stopping.threshold=3", "name=x").code == 0
    assert "early_stopping.threshold=null" in cli(capsys, "resume=outputs/x").out
    assert cli(capsys, "resume=outputs/x", "early_stopping.threshold=null", "trust=[tests]").code == 0
    assert entries_of(runs / "x/last.tar")["global_step"] == 9


def test_a_file_of_an_older_version_counts_its_best_metric_as_the_latest_improvement(runs: Path, capsys: Any) -> None:
    words = (*HILLS, "early_stopping.patience=3")
    assert cli(capsys, *words, "name=whole").code == 0
    assert cli(capsys, *words, "name=x", "max_steps=3").code == 0
    entries = entries_of(runs / "x/checkpoints/step_0000000003.tar")
    for counter in LATER:
        del entries["progress_state_dict"][counter]
    torch.save(entries, runs / "x/checkpoints/step_0000000003.tar")
    assert cli(capsys, "resume=outputs/x", "max_steps=null", "trust=[tests]").code == 0
    one, other = entries_of(runs / "whole/last.tar"), entries_of(runs / "x/last.tar")
    assert difference(one["model_state_dict"], other["model_state_dict"]) is None
    assert one["progress_state_dict"]["improved_metric"] == other["progress_state_dict"]["improved_metric"] == 3


def evaluated(run: Path) -> list[int]:
    """Return the steps of a run's evaluations."""
    return [int(row["step"]) for row in rows_of(run) if row["val/loss"]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("every", "steps"), [("0.5", [2, 3, 5, 6, 8, 9]), ("1.0", [3, 6, 9]), ("1.5", [5, 9]), ("2", [2, 4, 6, 8, 9])]
)
def test_an_integer_between_evaluations_is_steps_and_a_number_with_a_point_is_epochs(
    runs: Path, capsys: Any, monkeypatch: Any, every: str, steps: list[int]
) -> None:
    words = (f"eval_every={every}", "checkpoint.every_epochs=0.3")
    train(capsys, monkeypatch, "whole", *words)
    assert evaluated(runs / "whole") == steps
    train(capsys, monkeypatch, "x", *words, stop=3)
    train(capsys, monkeypatch, "x", *words)
    assert_same_run(runs / "whole", runs / "x")
    assert len(list((runs / "whole/checkpoints").glob("*.tar"))) == 9


@pytest.mark.parametrize("word", ["eval_every=abc", "eval_every=true", "checkpoint.every_epochs=abc"])
def test_a_length_that_is_no_number_is_one_sentence(capsys: Any, word: str) -> None:
    outcome = cli(capsys, "--cfg", "job", word)
    assert outcome.code == 2 and outcome.err == f"error: {word} is invalid; use a number\n"


@pytest.mark.parametrize("word", ["eval_every=0", "eval_every=-0.5", "checkpoint.every_epochs=0.0"])
def test_a_length_of_nothing_is_one_sentence(capsys: Any, runs: Path, word: str) -> None:
    outcome = cli(capsys, *TINY, word)
    assert outcome.code == 2 and outcome.err == f"error: {word} is invalid; use a number above 0\n"


SENTENCES = (
    "model=own", "model._target_=tests.own.sentences.Bag", "data=own", "data._target_=tests.own.sentences.Sentences",
    "learner=own", "learner._target_=tests.own.sentences.Counted", "batch_size=6", "accumulate=2", "device=cpu",
    "tracker=csv", "scheduler=inverse_sqrt", "checkpoint=every_n_steps", "checkpoint.every_steps=1",
    "checkpoint.keep_last=100",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("length", "counted"), [("max_samples=50", "samples"), ("max_tokens=230", "tokens")])
def test_a_length_that_is_counted_ends_the_run_at_the_same_step_over_a_resume(
    runs: Path, capsys: Any, monkeypatch: Any, length: str, counted: str
) -> None:
    assert cli(capsys, *SENTENCES, "max_tokens=999", length, "name=whole").code == 0
    whole, limit = entries_of(runs / "whole/last.tar"), int(length.partition("=")[2])
    counts = {
        step: entries_of(runs / f"whole/checkpoints/step_{step:010}.tar")["progress_state_dict"]["counts"][counted]
        for step in (whole["global_step"] - 1, whole["global_step"])
    }
    assert [count >= limit for count in counts.values()] == [False, True]
    monkeypatch.setenv("STOP_AT", "5")
    assert cli(capsys, *SENTENCES, "max_tokens=999", length, "name=x").code == 75
    monkeypatch.delenv("STOP_AT")
    assert cli(capsys, "resume=outputs/x", "trust=[tests]").code == 0
    assert_same_run(runs / "whole", runs / "x")


@pytest.mark.parametrize(("samples", "steps"), [(8, 1), (19, 3), (20, 3), (21, 4), (45, 7)])
def test_samples_in_batches_of_one_size_are_a_known_number_of_steps_from_any_position(samples: int, steps: int) -> None:
    points = NoisyPoints()
    config = config_of(*TINY, "epochs=null", f"max_samples={samples}")
    train, _ = loaders(config, points, "cpu", Alone())
    for step in range(steps + 1):
        at = Position(step, step // 3, 8 * (step % 3))
        assert horizon_of(config, train, at).total_steps == steps
    assert counted_limits(config, train) == {}


def test_samples_that_are_dropped_do_not_count() -> None:
    config = config_of(*TINY, "epochs=null", "max_samples=33", "data.drop_last=true")  # 16 an epoch
    train, _ = loaders(config, NoisyPoints(), "cpu", Alone())
    assert horizon_of(config, train, Position()).total_steps == horizon_of(config, train, Position(3, 1, 8)).total_steps
    assert horizon_of(config, train, Position()).total_steps == 5


def test_samples_given_alone_lift_the_epochs_and_move_the_schedule(runs: Path, capsys: Any) -> None:
    assert cli(capsys, *TINY[:-6], "batch_size=8", "tracker=none", "max_samples=100", "name=x").code == 0
    last = entries_of(runs / "x/last.tar")
    assert last["global_step"] == 15 and last["progress_state_dict"]["counts"] == {"samples": 100}
    assert last["optimizer_state_dict"]["param_groups"][0]["lr"] == 0
    assert "max_samples=..." in cli(capsys, "resume=outputs/x", "trust=[tests]").out


def test_what_nobody_counts_is_no_length(runs: Path, capsys: Any) -> None:
    outcome = cli(capsys, *TINY, "max_tokens=9", "name=x")
    assert outcome.code == 2 and "needs a method `tokens(batch)`" in outcome.err and not runs.exists()
    assert cli(capsys, *SENTENCES, "max_steps=2", "name=x").code == 0
    late = cli(capsys, "resume=outputs/x", "max_tokens=99", "max_steps=null", "trust=[tests]")
    assert late.code == 2 and "has not counted its tokens from its start; use max_steps=..." in late.err
    assert cli(capsys, "resume=outputs/x", "max_samples=18", "max_steps=null", "trust=[tests]").code == 0
    short = cli(capsys, "resume=outputs/x", "max_samples=3", "trust=[tests]")
    assert short.code == 2 and "has 23 samples already" in short.err
    endless = cli(capsys, *SENTENCES, "scheduler=cosine", "max_tokens=9", "name=y")
    assert endless.code == 2 and "max_tokens, and max_samples with an order" in endless.err


@pytest.mark.parametrize(("found", "said"), [(torch.tensor(3), "a tensor ()"), (2.5, "2.5"), (-1, "-1")])
def test_a_count_of_tokens_is_a_whole_number(found: Any, said: str) -> None:
    learner = SimpleNamespace(tokens=lambda part: found)
    with pytest.raises(ConfigError, match=re.escape(f"returned {said}; return a whole number")):
        tokens_of(learner, Batch((None,), (1,)))


SPIKING = (*TINY, "learner._target_=tests.own.learners.Spiking", "on_spike=skip", "scheduler=none", "log_every=1")


@pytest.mark.slow
def test_a_spike_of_the_loss_is_skipped_also_over_a_resume(runs: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(guard, "_RECENT", 3)
    train(capsys, monkeypatch, "whole", *SPIKING, "checkpoint.every_steps=1")
    said = (runs / "whole/run.log").read_text()
    assert said.count("is a spike above") == 2 and len(rows_of(runs / "whole")) == 9
    files = (entries_of(runs / f"whole/checkpoints/step_{step:010}.tar") for step in (4, 5, 6))
    before, at, after = (file["model_state_dict"]["layers.1.weight"] for file in files)
    assert before.equal(at) and not at.equal(after)
    assert len(entries_of(runs / "whole/last.tar")["progress_state_dict"]["recent_losses"]["model"]) == 3
    for step in (3, 6):
        train(capsys, monkeypatch, f"s{step}", *SPIKING, "checkpoint.every_steps=1", stop=step)
        train(capsys, monkeypatch, f"s{step}", *SPIKING, "checkpoint.every_steps=1")
        assert_same_run(runs / "whole", runs / f"s{step}")


def test_a_spike_rolls_back_to_the_last_checkpoint(runs: Path, capsys: Any, monkeypatch: Any, unpoisoned: None) -> None:
    monkeypatch.setattr(guard, "_RECENT", 3)
    words = (*TINY, "learner._target_=tests.own.nonfinite.SpikingOnce", "scheduler=none", "on_spike=rollback")
    outcome = cli(capsys, *words, "name=x", "log_every=1")
    assert outcome.code == 0 and "rolling back to step_0000000003.tar" in outcome.out, outcome.out
    last = entries_of(runs / "x/last.tar")
    assert last["progress_state_dict"]["rollbacks"] == 1 and last["global_step"] == 9
    assert [row["step"] for row in rows_of(runs / "x")] == [str(step) for step in range(1, 10)]


def test_spikes_beyond_the_limit_end_the_run_in_one_sentence(runs: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(guard, "_RECENT", 3)
    outcome = cli(capsys, *SPIKING, "on_spike=rollback", "nonfinite_limit=2", "name=x")
    assert outcome.code == 1 and outcome.out.count("rolling back to") == 2 and "a larger spike_factor" in outcome.out


def test_a_spike_is_one_of_its_own_model_and_gives_buffers_back() -> None:
    progress, model = Progress(), nn.BatchNorm1d(2)
    watching = SkippingSpikes(Trusting(), progress, factor=2.0)
    scaler, optimizer = Precision("fp32", torch.device("cpu")), torch.optim.SGD(model.parameters(), lr=0.1)

    def allowed(name: str, *losses: float) -> bool:
        watching.begin({"model": model})
        model(torch.randn(4, 2))
        seen = [({"loss": torch.tensor(loss)}, 1 / len(losses)) for loss in losses]
        return watching.allows(scaler, optimizer, seen, name)

    assert all(allowed("a", 1.0 + number % 2) for number in range(32)) and allowed("b", 100.0)
    assert not allowed("a", 2.0, 5.0) and model.num_batches_tracked == 33
    assert allowed("a", 2.0, 3.9) and len(progress.recent_losses["a"]) == 32
    assert all(allowed("c", -1.0) for _ in range(32)) and allowed("c", 9.0)


STREAM = (
    "model=mlp", "model.hidden=[4]", "data=own", "data._target_=tests.own.streams.Streaming", "scheduler=none",
    "batch_size=4", "device=cpu", "tracker=csv", "epochs=null",
)  # fmt: skip


def test_a_stream_is_as_long_as_its_samples_are_counted_and_has_no_parts_of_epochs(runs: Path, capsys: Any) -> None:
    for word, way_out in (("eval_every=0.5", "eval_every=100"), ("checkpoint.every_epochs=0.5", "every_steps=100")):
        outcome = cli(capsys, *STREAM, "max_steps=9", word, "name=x")
        assert outcome.code == 2 and f"{word} is a part of an epoch" in outcome.err and way_out in outcome.err
    assert not runs.exists()
    right = ("eval_every=100", "checkpoint.every_steps=100", "max_samples=18", "name=x")
    assert cli(capsys, *STREAM, *right).code == 0
    assert entries_of(runs / "x/last.tar")["progress_state_dict"]["counts"]["samples"] >= 18
