"""State whose names or shapes a freshly built model lacks: restored bit for bit, or refused before the first step."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import runner
from tests.support.command_line import TINY, Outcome, cli
from tests.support.comparing import assert_same_run, entries_of


def train(capsys: Any, model: str, *words: str) -> Outcome:
    own = [word for word in TINY if not word.startswith("model")]
    return cli(capsys, *own, "model=own", f"model._target_=tests.own.changing_state.{model}", *words, "resume=auto")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("Filled", ()),
        ("Growing", ("ema.decay=0.9",)),
        ("WeightNormed", ("ema.decay=0.9",)),
        pytest.param("Filled", ("ema.decay=0.9", "on_nonfinite=skip"), marks=pytest.mark.slow),
        pytest.param("Growing", (), marks=pytest.mark.slow),
        pytest.param("Parametrized", ("ema.decay=0.9",), marks=pytest.mark.slow),
    ],
)
def test_a_run_goes_on_and_its_file_is_used_bit_for_bit(
    runs: Path, capsys: Any, monkeypatch: Any, model: str, words: tuple[str, ...]
) -> None:
    assert train(capsys, model, *words, "name=whole").code == 0
    monkeypatch.setenv("STOP_AT", "4")
    assert train(capsys, model, *words, "name=x").code == 75
    monkeypatch.delenv("STOP_AT")
    resumed = train(capsys, model, *words, "name=x")
    assert resumed.code == 0, resumed.err
    assert_same_run(runs / "whole", runs / "x")
    entries = entries_of(runs / "x/best.tar")
    outcome = cli(capsys, "task=evaluate", "checkpoint_path=outputs/x/best.tar")
    assert json.loads(outcome.out.splitlines()[-1])["loss"] == entries["metrics"]["val/loss"]
    part = "ema" if words else "model"
    loaded = runner.load("outputs/x/best.tar", trust=("tests",)).state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in entries[f"{part}_state_dict"].items())


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("Lazy", "0.weight has no shape before the first batch"),
        ("Late", "scale is a parameter created during training"),
        ("LateBuffer", "mean is a buffer created during training"),
        ("Replacing", "layer.weight was replaced by another parameter during training"),
        ("Dropping", "first was removed during training"),
    ],
)
def test_what_cannot_be_restored_is_refused_before_anything_is_made(
    runs: Path, capsys: Any, model: str, said: str
) -> None:
    outcome = train(capsys, model, "name=x")
    assert outcome.code == 2 and said in outcome.err and "Traceback" not in outcome.err, outcome.err
    assert not runs.exists()


def test_a_parameter_that_is_replaced_later_ends_the_run_and_spoils_no_checkpoint(runs: Path, capsys: Any) -> None:
    outcome = train(capsys, "Replacing", "+model.at=20", "checkpoint.every_steps=1", "name=x")
    assert outcome.code == 1 and "layer.weight was replaced by another parameter during training" in outcome.out
    assert cli(capsys, "task=evaluate", "checkpoint_path=outputs/x/last.tar").code == 0
