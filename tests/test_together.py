"""Several models: updated together from one loss, and each in its own steps."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from runner.optim.together import Together
from runner.strategy.precision import Precision
from tests.support.command_line import TINY, cli
from tests.support.comparing import assert_same_run, difference, entries_of, rows_of

PAIR = "{encoder: {_target_: tests.own.together.Encoder}, head: {_target_: tests.own.together.Head}}\n"
COMMON = (*TINY[3:], "scheduler=cosine", "checkpoint=every_n_steps", "checkpoint.every_steps=1", "clip_norm=0.5")
WORDS = (*COMMON, "--config-dir=mine", "model=pair", "learner._target_=tests.own.together.Together", "log_every=1")
GAN = (
    "experiment=gan_digits", "model.generator.latent=4", "learner.latent=4", "data=synthetic", "data.size=24",
    "data.shape=[1,16,16]", "batch_size=8", "epochs=2", "tracker=csv", "log_every=1", "checkpoint=every_n_steps",
    "checkpoint.every_steps=1", "checkpoint.monitor=val/generator_loss", "checkpoint.keep_last=100",
)  # fmt: skip


OPTIMIZERS = """
encoder: {_target_: torch.optim.AdamW, lr: 0.01, freeze: ['^layers.0.bias']}
head:
  _target_: torch.optim.SGD
  lr: 0.1
  groups: [{match: bias, lr_scale: 0.5}]
"""
SCHEDULERS = """
encoder: {_target_: torch.optim.lr_scheduler.StepLR, step_size: 3, gamma: 0.5, unit: step}
head: {_target_: torch.optim.lr_scheduler.ConstantLR, factor: 1.0, unit: step}
"""


@pytest.fixture(autouse=True)
def pair(work: Path) -> None:
    """Options with an encoder and a head."""
    for group, text in (("model", PAIR), ("optimizer", OPTIMIZERS), ("scheduler", SCHEDULERS)):
        (work / f"mine/{group}").mkdir(parents=True)
        (work / f"mine/{group}/pair.yaml").write_text(text)


def run(capsys: Any, *words: str) -> None:
    outcome = cli(capsys, *words)
    assert outcome.code == 0, outcome.err + outcome.out


def at(run: Path, step: int, part: str) -> Any:
    return entries_of(run / f"checkpoints/step_{step:010}.tar")[f"{part}_state_dict"]


def test_models_updated_together_become_what_they_are_as_one_model(runs: Path, capsys: Any) -> None:
    run(capsys, *WORDS, "name=x")
    run(capsys, *COMMON, "log_every=1", "model=own", "model._target_=tests.own.together.Whole", "name=y")
    ours, whole = entries_of(runs / "x/last.tar"), entries_of(runs / "y/last.tar")["model_state_dict"]
    parts = {
        f"{part}.{name}": value for part in ("encoder", "head") for name, value in ours[f"{part}_state_dict"].items()
    }
    assert difference(parts, dict(whole)) is None
    assert {"encoder_optimizer_state_dict", "head_optimizer_state_dict"} <= ours.keys()
    assert rows_of(runs / "x") == rows_of(runs / "y")


def test_a_run_of_models_updated_together_resumes_exactly(runs: Path, capsys: Any) -> None:
    run(capsys, *WORDS, "name=x")
    run(capsys, "resume=outputs/x/checkpoints/step_0000000004.tar", "name=y")
    assert difference(entries_of(runs / "y/last.tar"), entries_of(runs / "x/last.tar")) is None


@pytest.mark.parametrize("words", [("on_nonfinite=skip",), ("device.precision=fp16", "clip_norm=null")])
def test_a_gradient_of_one_that_is_not_finite_keeps_them_all_as_they_are(
    runs: Path, capsys: Any, words: tuple[str, ...]
) -> None:
    run(capsys, *WORDS, "learner._target_=tests.own.together.BrokenHead", *words, "name=x", "scheduler=none")
    for part in ("encoder", "head"):
        assert difference(at(runs / "x", 2, part), at(runs / "x", 3, part)) is None
        assert difference(at(runs / "x", 3, part), at(runs / "x", 4, part)) is not None


def test_a_scaler_steps_all_optimizers_or_none() -> None:
    models = [nn.Linear(2, 1), nn.Linear(2, 1)]
    before = [model.weight.detach().clone() for model in models]
    together = Together(torch.optim.SGD(model.parameters(), lr=0.1) for model in models)
    scaler = Precision("fp16", torch.device("cpu"))
    for broken in (True, False):
        together.zero_grad()
        inputs = torch.tensor([[1.0, float("inf") if broken else 1.0]])
        scaler.backward(models[0](torch.ones(1, 2)).sum() + models[1](inputs).sum(), 1.0)
        scaler.step(together)
        assert all(torch.equal(model.weight, was) is broken for model, was in zip(models, before, strict=True))


def test_without_val_the_loss_of_all_is_monitored(runs: Path, capsys: Any) -> None:
    run(capsys, *WORDS, "data._target_=tests.own.together.Unvalidated", "name=x")
    last = entries_of(runs / "x/last.tar")
    assert list(last["metrics"]) == ["train/loss"] and last["progress_state_dict"]["best_metric"] is not None


def test_a_model_with_a_number_is_updated_in_the_steps_divisible_by_it(runs: Path, capsys: Any) -> None:
    run(capsys, *GAN, "learner.every={discriminator: 2}", "name=x")
    for step in range(1, 6):
        for part, moves in (("discriminator", step % 2 == 0), ("generator", True)):
            same = difference(at(runs / "x", step, part), at(runs / "x", step + 1, part)) is None
            assert same is not moves, (part, step)
    assert [bool(row["train/discriminator_loss"]) for row in rows_of(runs / "x")] == [True, False] * 3
    for step in (2, 3):
        run(capsys, f"resume=outputs/x/checkpoints/step_{step:010}.tar", f"name=y{step}")
        assert difference(entries_of(runs / f"y{step}/last.tar"), entries_of(runs / "x/last.tar")) is None


def test_of_models_updated_together_only_those_that_are_due_are_updated(runs: Path, capsys: Any) -> None:
    run(capsys, *WORDS, "learner.every={encoder: 3}", "name=x")
    for step in range(1, 7):
        assert difference(at(runs / "x", step, "head"), at(runs / "x", step + 1, "head")) is not None
        same = difference(at(runs / "x", step, "encoder"), at(runs / "x", step + 1, "encoder")) is None
        assert same is (step % 3 != 0)
    assert all(row["train/loss"] for row in rows_of(runs / "x"))


def test_every_number_of_one_gives_the_same_bits(runs: Path, capsys: Any) -> None:
    run(capsys, *GAN, "name=x")
    run(capsys, *GAN, "learner.every={discriminator: 1, generator: 1}", "name=y")
    assert_same_run(runs / "x", runs / "y")


@pytest.mark.parametrize(
    ("every", "said"),
    [
        ("5", "learner.every=5 is invalid; use a mapping, such as {discriminator: 5}; every is a key of the runner"),
        ("{critic: 5}", "learner.every names critic; the trained models are generator, discriminator"),
        ("{discriminator: 0}", "learner.every.discriminator=0 is invalid; use a whole number of steps, at least 1"),
        ("{discriminator: 0.5}", "learner.every.discriminator=0.5 is invalid"),
    ],
)
def test_a_ratio_that_is_none_is_one_sentence_and_nothing_is_made(
    runs: Path, capsys: Any, every: str, said: str
) -> None:
    outcome = cli(capsys, *GAN, f"learner.every={every}")
    assert outcome.code == 2 and said in outcome.err and not runs.exists(), outcome.err


def test_each_model_has_an_optimizer_of_its_own_and_columns_for_its_rates(runs: Path, capsys: Any) -> None:
    words = [word for word in WORDS if word not in ("optimizer=adam", "scheduler=cosine")]
    run(capsys, *words, "optimizer=pair", "scheduler=pair", "name=x")
    assert {key: rows_of(runs / "x")[0][key] for key in ("lr", "lr/head", "lr/head/1")} == {
        "lr": "0.01", "lr/head": "0.1", "lr/head/1": "0.05",
    }  # fmt: skip
    first, last = (at(runs / "x", step, "encoder") for step in (1, 9))
    kept = {name for name, value in first.items() if torch.equal(value, last[name])}
    assert kept == {"layers.0.bias"}
    run(capsys, "resume=outputs/x/checkpoints/step_0000000004.tar", "name=y")
    assert difference(entries_of(runs / "y/last.tar"), entries_of(runs / "x/last.tar")) is None
    assert rows_of(runs / "y")[-1].items() >= {"lr": "0.00125", "lr/head": "0.1"}.items()


def test_models_with_equal_rates_share_their_columns(runs: Path, capsys: Any) -> None:
    run(capsys, *WORDS, "max_steps=2", "name=x")
    assert [name for name in rows_of(runs / "x")[-1] if name.startswith("lr")] == ["lr"]


@pytest.mark.parametrize("words", [("on_nonfinite=skip",), ("device.precision=fp16",)])
@pytest.mark.parametrize("learner", ["Together", "InTurn"])
def test_one_of_several_models_may_be_frozen_whole_and_trained_later(
    runs: Path, capsys: Any, learner: str, words: tuple[str, ...]
) -> None:
    frozen = ("optimizer.freeze=['^layers']", "optimizer.unfreeze_at={step: 3}", "ema.decay=0.9")
    run(capsys, *WORDS, f"learner._target_=tests.own.together.{learner}", *frozen, *words, "name=x")
    before, until, after = (entries_of(runs / f"x/checkpoints/step_{step:010}.tar") for step in (1, 3, 4))
    for part in ("encoder", "encoder_ema"):
        assert difference(before[f"{part}_state_dict"], until[f"{part}_state_dict"]) is None
        assert difference(until[f"{part}_state_dict"], after[f"{part}_state_dict"]) is not None
    assert difference(before["head_state_dict"], until["head_state_dict"]) is not None
    run(capsys, "resume=outputs/x/checkpoints/step_0000000002.tar", "name=y")
    assert difference(entries_of(runs / "y/last.tar"), entries_of(runs / "x/last.tar")) is None


def test_not_all_of_several_models_are_frozen_whole(runs: Path, capsys: Any) -> None:
    outcome = cli(capsys, *WORDS, "optimizer.freeze=['.']", "optimizer.unfreeze_at=1")
    assert outcome.code == 2 and not runs.exists()
    assert "optimizer.freeze freezes every parameter of the encoder, head; leave some to train" in outcome.err


def test_a_shared_group_needs_a_match_in_one_of_the_models(runs: Path, capsys: Any) -> None:
    run(capsys, *WORDS, "optimizer.groups=[{match: '^layers', lr_scale: 0.5}]", "scheduler=none", "name=x")
    assert {key: float(value) for key, value in rows_of(runs / "x")[-1].items() if key.startswith("lr")} == {
        "lr": 0.001, "lr/head": 0.002,
    }  # fmt: skip
    outcome = cli(capsys, *WORDS, "optimizer.groups=[{match: '^encoder', lr_scale: 0.5}]", "name=y")
    assert outcome.code == 2 and "the names are layers.0.weight, layers.0.bias, weight, bias..." in outcome.err
