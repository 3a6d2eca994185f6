"""Several sets of one split, and data without a `val`."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import TINY, cli
from tests.support.comparing import difference, entries_of

EACH_STEP = ("checkpoint=every_n_steps", "checkpoint.every_steps=1")
SEVERAL = (*TINY, "data._target_=tests.own.splits.Several", "eval_every=2", *EACH_STEP)
WITHOUT = (*TINY, "data._target_=tests.own.splits.WithoutVal", *EACH_STEP)
FIGURES = ("val/seen/loss", "val/seen/accuracy", "val/unseen/loss", "val/unseen/accuracy")
SAMPLES = {"train": 20, "val/seen": 6, "val/unseen": 7, "test/near": 5, "test/far": 9}


def run(capsys: Any, *words: str) -> str:
    outcome = cli(capsys, *words)
    assert outcome.code == 0, outcome.err
    return outcome.out


def test_each_set_is_measured_by_its_name_and_any_may_decide(runs: Path, capsys: Any) -> None:
    run(capsys, *SEVERAL, "checkpoint.monitor=val/unseen/loss", "name=x")
    whole = entries_of(runs / "x/last.tar")
    assert tuple(whole["metrics"]) == FIGURES
    assert whole["data_identity"]["samples"] == SAMPLES
    assert "near/loss" in json.loads((runs / "x/status.json").read_text())["test"]
    with open(runs / "x/metrics.csv", newline="") as file:
        assert "val/unseen/accuracy" in next(csv.reader(file))
    out = run(capsys, "task=evaluate", "checkpoint_path=outputs/x/best.tar", "data.split=val")
    best = json.loads((runs / "x/status.json").read_text())["best_metric"]
    assert json.loads(out.splitlines()[-1])["unseen/loss"] == best
    run(capsys, "resume=outputs/x/checkpoints/step_0000000004.tar", "name=y")
    assert difference(entries_of(runs / "y/last.tar"), whole) is None


def test_without_a_val_the_loss_of_training_decides(runs: Path, capsys: Any) -> None:
    run(capsys, *WITHOUT, "name=x", "early_stopping.patience=9", "scheduler=plateau", "log_every=1")
    whole = entries_of(runs / "x/last.tar")
    status = json.loads((runs / "x/status.json").read_text())
    assert status["monitor"] == "train/loss" and list(whole["metrics"]) == ["train/loss"]
    with open(runs / "x/metrics.csv", newline="") as file:
        rows = {int(row["step"]): float(row["train/loss"]) for row in csv.DictReader(file)}
    assert status["best_metric"] == min(rows[step] for step in (3, 6, 9))  # at the end of each epoch
    assert (runs / "x/best.tar").exists()
    run(capsys, "resume=outputs/x/checkpoints/step_0000000004.tar", "name=y")
    assert difference(entries_of(runs / "y/last.tar"), whole) is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((*SEVERAL,), "checkpoint.monitor=val/loss is not measured; choose one of val/seen/loss, val/seen/accuracy"),
        ((*WITHOUT, "checkpoint.monitor=val/accuracy"), "is not measured; choose one of train/loss"),
    ],
)
def test_a_metric_of_no_set_is_one_sentence(runs: Path, capsys: Any, words: tuple[str, ...], said: str) -> None:
    outcome = cli(capsys, *words)
    assert outcome.code == 2 and said in outcome.err and not runs.exists(), outcome.err
