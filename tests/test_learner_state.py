"""A learner with a state is a part of the checkpoint."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from runner.errors import ConfigError
from runner.wiring.build.checks import check_learner
from tests.own.learners import Leading, StoppableClassification
from tests.support.command_line import TINY, Outcome, cli
from tests.support.comparing import assert_same_run, difference, entries_of

LEARNERS = ("Leading", "LeadingModule")


def train(capsys: Any, learner: str, *words: str) -> Outcome:
    return cli(capsys, *TINY, f"learner._target_=tests.own.learners.{learner}", *words, "resume=auto")


@pytest.mark.parametrize("learner", LEARNERS)
def test_a_stateful_learner_goes_on_with_its_state_bit_for_bit(
    runs: Path, capsys: Any, monkeypatch: Any, learner: str
) -> None:
    assert train(capsys, learner, "name=whole").code == 0
    monkeypatch.setenv("STOP_AT", "4")
    assert train(capsys, learner, "name=x").code == 75
    assert float(entries_of(runs / "x/last.tar")["learner_state_dict"]["mean"]) > 0
    monkeypatch.delenv("STOP_AT")
    resumed = train(capsys, learner, "name=x")
    assert resumed.code == 0 and "restored model" in resumed.out and "progress, learner" in resumed.out
    assert_same_run(runs / "whole", runs / "x")


@pytest.mark.parametrize("learner", LEARNERS)
def test_an_evaluation_has_the_learners_state(runs: Path, capsys: Any, learner: str) -> None:
    assert train(capsys, learner, "name=x").code == 0
    stored = entries_of(runs / "x/best.tar")["metrics"]["val/loss"]
    outcome = cli(capsys, "task=evaluate", "checkpoint_path=outputs/x/best.tar")
    assert json.loads(outcome.out.splitlines()[-1])["loss"] == stored


def test_parameters_of_a_learner_are_trained_by_the_models_optimizer_and_resumed(runs: Path, capsys: Any) -> None:
    words = ("tests.own.distilling.Tempered", "checkpoint=every_n_steps", "checkpoint.every_steps=1")
    outcome = cli(capsys, *TINY, f"learner._target_={words[0]}", *words[1:], "name=x")
    assert outcome.code == 0, outcome.err
    whole = entries_of(runs / "x/last.tar")
    assert "learner.temperature" in whole["optimizer_state_dict"]["param_groups"][0]["param_names"]
    assert float(whole["learner_state_dict"]["temperature"]) != 1
    outcome = cli(capsys, "resume=outputs/x/checkpoints/step_0000000004.tar", "name=y")
    assert outcome.code == 0, outcome.err
    assert difference(entries_of(runs / "y/last.tar"), whole) is None
    outcome = cli(capsys, "resume=outputs/x/checkpoints/step_0000000004.tar", "name=z", "optimizer.lr=0.01")
    assert outcome.code == 0, outcome.err


def test_an_older_run_whose_optimizer_has_no_parameter_of_the_learner_goes_on_without(
    runs: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("runner.wiring.build.objects.trained", lambda name, model, _: list(model.named_parameters()))
        assert train(capsys, "LeadingModule", "name=x", "epochs=1").code == 0
    stored = entries_of(runs / "x/last.tar")["optimizer_state_dict"]["param_groups"][0]["param_names"]
    assert not any(name.startswith("learner.") for name in stored)
    outcome = cli(capsys, "resume=outputs/x", "epochs=2")
    assert outcome.code == 0 and float(entries_of(runs / "x/last.tar")["learner_state_dict"]["scale"]) == 1


def test_the_state_of_a_learner_is_missed(runs: Path, capsys: Any, monkeypatch: Any) -> None:
    assert cli(capsys, *TINY, "epochs=1", "name=x").code == 0
    monkeypatch.setattr(StoppableClassification, "state_dict", Leading.state_dict, raising=False)
    monkeypatch.setattr(StoppableClassification, "load_state_dict", Leading.load_state_dict, raising=False)
    monkeypatch.setattr(StoppableClassification, "mean", torch.zeros(()), raising=False)
    monkeypatch.setattr(StoppableClassification, "seen", [], raising=False)
    outcome = cli(capsys, "resume=outputs/x", "epochs=2")
    assert outcome.code == 2 and "lacks the state of learner" in outcome.err


def test_a_file_from_before_learners_had_a_state_begins_with_a_fresh_one(
    runs: Path, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr("runner.wiring.build.objects.Stateful", type("Nothing", (), {}))
    monkeypatch.setattr("runner.run.opening.IDENTITY", "unknown")
    assert train(capsys, "Leading", "epochs=1", "name=x").code == 0
    monkeypatch.undo()
    monkeypatch.chdir(runs.parent)
    assert "learner_state_dict" not in entries_of(runs / "x/last.tar")
    outcome = cli(capsys, "resume=outputs/x", "epochs=2")
    assert outcome.code == 0 and "has no state of the learner, which starts afresh" in outcome.out
    assert "learner_state_dict" in entries_of(runs / "x/last.tar")


def test_a_learner_that_can_say_its_state_and_not_take_it_back_is_refused() -> None:
    with pytest.raises(ConfigError, match="Half has only one of state_dict and load_state_dict"):
        check_learner(type("Half", (Leading,), {"load_state_dict": None})())
