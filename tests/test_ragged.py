"""Ragged samples with a `collate` and an `order` of their own: as exact as digits, and counted rightly everywhere."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest

from tests.own.sentences import Sentences
from tests.support.command_line import cli
from tests.support.comparing import difference, entries_of

WORDS = (
    "model=own", "model._target_=tests.own.sentences.Bag", "data=own", "data._target_=tests.own.sentences.Sentences",
    "learner=own", "learner._target_=tests.own.sentences.Reading", "optimizer=adam", "epochs=3", "batch_size=6",
    "scheduler=cosine", "device=cpu", "tracker=csv", "eval_every=2", "checkpoint=every_n_steps",
    "checkpoint.every_steps=1", "checkpoint.keep_last=20",
)  # fmt: skip


def run(capsys: Any, *words: str) -> str:
    """Call the program, which must succeed, and return what it printed."""
    outcome = cli(capsys, *words)
    assert outcome.code == 0, outcome.err
    return outcome.out


@pytest.mark.slow
@pytest.mark.parametrize("words", [(), ("accumulate=4",), ("+data.by_length=false", "accumulate=2")])
def test_a_resume_at_every_step_ends_in_the_same_bits(runs: Path, capsys: Any, words: tuple[str, ...]) -> None:
    run(capsys, *WORDS, *words, "name=whole")
    whole = entries_of(runs / "whole/last.tar")
    assert whole["global_step"] == 12 and whole["epoch"] == 3
    for step in (1, 4, 6, 11):
        file = runs / f"whole/checkpoints/step_{step:010d}.tar"
        workers = 2 * (step == 6)
        run(capsys, f"resume={file}", f"name=from_{step}", f"data.workers={workers}")
        assert difference(entries_of(runs / f"from_{step}/last.tar"), whole) is None, step


def test_an_evaluation_is_the_mean_over_the_samples_that_a_prediction_lists(runs: Path, capsys: Any) -> None:
    run(capsys, *WORDS, "name=x")
    said = json.loads(run(capsys, "task=evaluate", "checkpoint_path=outputs/x/best.tar").splitlines()[-1])
    predicted = json.loads(run(capsys, "task=predict", "checkpoint_path=outputs/x/best.tar").splitlines()[-1])
    assert predicted["samples"] == 10 == len(Sentences().test)
    with open(predicted["output"], newline="") as file:
        rows = list(csv.DictReader(file))
    labels = [int(tokens[0] % 2 == 0) for tokens in Sentences().test.tokens]
    right = [int(row["class"]) == label for row, label in zip(rows, labels, strict=True)]
    chances = [abs(float(row["probability"]) - (not sure)) for row, sure in zip(rows, right, strict=True)]  # of two
    assert said["accuracy"] == pytest.approx(sum(right) / 10, abs=1e-6)
    assert said["loss"] == pytest.approx(sum(-math.log(chance) for chance in chances) / 10, abs=1e-5)


def test_a_shortened_epoch_keeps_the_datas_own_batches(runs: Path, capsys: Any) -> None:
    run(capsys, *WORDS, "debug.limit_train=3", "name=x")
    entries = entries_of(runs / "x/last.tar")
    assert (entries["epoch"], entries["global_step"]) == (3, 9)


@pytest.mark.slow
def test_a_resume_is_found_exact(runs: Path, capsys: Any) -> None:
    assert "exact" in run(capsys, *WORDS, "task=check_resume")


def test_a_collate_that_is_none_is_one_sentence(runs: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, said in (("collate", "`collate(samples)`"), ("order", "`order(epoch, generator)`")):
        with monkeypatch.context() as patch:
            patch.setattr(Sentences, name, "by length")
            outcome = cli(capsys, *WORDS)
        assert outcome.code == 2 and said in outcome.err and not runs.exists(), outcome.err
    monkeypatch.setattr(Sentences, "collate", None)
    outcome = cli(capsys, *WORDS)
    assert outcome.code == 2 and "or let a method `collate(samples)` of the data make a batch" in outcome.err
