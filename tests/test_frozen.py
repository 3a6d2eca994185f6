"""A frozen model: in `eval()` mode, without optimizer, scheduler and average, and in the file with the rest."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.command_line import cli
from tests.support.comparing import difference, entries_of

MODELS = """
student: {_target_: runner.models.Mlp, hidden: [8], dropout: 0.2}
teacher: {_target_: tests.own.distilling.Teacher}
"""
POINTS = ("data=own", "data._target_=tests.own.points.NoisyPoints", "batch_size=8", "device=cpu", "tracker=csv")
WORDS = (
    "--config-dir=mine", "model=pair", *POINTS, "learner=own", "learner._target_=tests.own.distilling.Distilling",
    "optimizer=adam", "ema.decay=0.9", "epochs=3", "checkpoint=every_n_steps", "checkpoint.every_steps=1",
    "checkpoint.keep_last=20",
)  # fmt: skip


@pytest.fixture(autouse=True)
def pair(work: Path) -> None:
    """An option with a student and a teacher."""
    (work / "mine/model").mkdir(parents=True)
    (work / "mine/model/pair.yaml").write_text(MODELS)


def run(capsys: Any, *words: str) -> None:
    outcome = cli(capsys, *words)
    assert outcome.code == 0, outcome.err


def test_a_teacher_stays_as_it_was_and_a_run_with_it_resumes_exactly(runs: Path, capsys: Any) -> None:
    run(capsys, *WORDS, "name=x")
    first, last = (entries_of(runs / f"x/checkpoints/step_000000000{step}.tar") for step in (1, 9))
    assert [key for key in last if "teacher" in key] == ["teacher_state_dict"]
    assert difference(first["teacher_state_dict"], last["teacher_state_dict"]) is None
    assert "student_optimizer_state_dict" in last and "student_ema_state_dict" in last
    run(capsys, "resume=outputs/x/checkpoints/step_0000000004.tar", "name=y")
    assert difference(entries_of(runs / "y/last.tar"), last) is None
    run(capsys, "task=evaluate", "checkpoint_path=outputs/x/best.tar")
    run(capsys, "resume=outputs/x", "epochs=4", "optimizer.lr=0.01")


def test_a_teacher_comes_out_of_another_run(runs: Path, capsys: Any) -> None:
    run(capsys, *POINTS, "model=own", "model._target_=tests.own.distilling.Teacher", "epochs=1", "name=t")
    taught = entries_of(runs / "t/best.tar")["model_state_dict"]
    run(capsys, *WORDS, "warm_start.path=outputs/t/best.tar", "warm_start.parts={teacher: model}", "name=x")
    held = entries_of(runs / "x/last.tar")["teacher_state_dict"]
    assert all(torch.equal(held[name], value) for name, value in taught.items())


def test_what_is_frozen_cannot_be_updated(runs: Path, capsys: Any) -> None:
    outcome = cli(capsys, *WORDS, "learner._target_=tests.own.distilling.Eager")
    assert outcome.code == 2 and "'teacher', which is not a trained model" in outcome.err and not runs.exists(), (
        outcome.err
    )


def test_frozen_names_that_are_none_are_refused(runs: Path, capsys: Any, monkeypatch: Any) -> None:
    for frozen in (("tutor",), ("student", "teacher"), "teacher"):
        monkeypatch.setattr("tests.own.distilling.Distilling.frozen", frozen)
        outcome = cli(capsys, *WORDS)
        assert outcome.code == 2 and "Distilling has frozen = " in outcome.err and not runs.exists(), outcome.err
