"""Lengths in the units of the field, in whole runs: each is resumed bit for bit, or refused in a sentence."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import TINY, cli
from tests.support.comparing import assert_same_run, entries_of


def train(capsys: Any, monkeypatch: Any, name: str, *words: str, stop: int | None = None) -> str:
    """Start or go on with a run of 3 epochs of 3 steps, stopped in the step after `stop`; return what it said."""
    monkeypatch.setenv("STOP_AT", "never" if stop is None else str(stop))
    outcome = cli(capsys, *TINY, *words, f"name={name}", "resume=auto")
    assert outcome.code == (0 if stop is None else 75), outcome.err + outcome.out
    return outcome.out


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
