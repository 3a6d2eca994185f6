"""What a learner answers, and the sentence for what the loop cannot use."""

from typing import Any

import pytest
import torch

from runner.errors import ConfigError
from runner.learners import Classification
from runner.loop.answers import check_evaluation, check_training, updates_of
from tests.support.command_line import TINY, cli

LOSS = torch.tensor(1.0, requires_grad=True)
MEASURED = {"loss": torch.tensor(1.0), "accuracy": torch.tensor(0.5)}


class Wrong(Classification):
    """Returns what it is told to."""

    def __init__(self, answer: Any = None) -> None:
        super().__init__()
        self.answer = answer

    def updates(self, step: int) -> Any:
        return self.answer


class Vector(Classification):
    """Returns the loss of each sample."""

    def training(self, models: Any, name: str, batch: Any) -> Any:
        return {"loss": models[name](batch[0]).sum(1)}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("model", "returned 'model'; return a tuple"),
        (None, "returned None"),
        (("generator",), "returned 'generator'"),
        ((("model", "model"),), r"returned \('model', 'model'\)"),
        (((),), r"returned \(\), which"),
        ((("model", 3),), r"returned \('model', 3\), which"),
    ],
)
def test_updates_of_no_model_are_one_sentence(answer: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=rf"Wrong\.updates {said}.* model"):
        list(updates_of(Wrong(answer), 0, {"model": None}))


def test_updates_may_come_one_at_a_time() -> None:
    assert list(updates_of(Wrong(iter(["a", "b"])), 0, {"a": None, "b": None})) == ["a", "b"]
    assert list(updates_of(Wrong([["a", "b"], "a"]), 3, {"a": None, "b": None}, {"b": 2})) == [("a",), "a"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (LOSS, "returned a tensor () and no 'loss'"),
        ({}, "returned nothing and no 'loss'"),
        ({"cost": LOSS}, "returned 'cost' and no 'loss'"),
        ({"loss": LOSS, "error": 0.5}, "returned 'error' as a float; return a scalar tensor"),
        ({"loss": LOSS.expand(3)}, "returned 'loss' as a tensor (3,)"),
        ({"loss": LOSS.detach()}, 'returned a "loss" without a gradient'),
    ],
)
def test_training_that_returns_no_loss_to_minimise_is_one_sentence(values: Any, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        check_training(values, Classification())
    assert f"Classification.training {said}" in str(error.value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (None, "returned a NoneType and no 'loss', 'accuracy'"),
        ({"loss": LOSS}, "returned 'loss' and no 'accuracy'"),
        ({**MEASURED, "each": torch.zeros(3)}, "returned 'each' as a tensor (3,)"),
        ({**MEASURED, "text": "good"}, "returned 'text' as a str"),
    ],
)
def test_an_evaluation_without_its_metrics_is_one_sentence(values: Any, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        check_evaluation(values, Classification(), 4)
    assert f"Classification.evaluation {said}" in str(error.value)


def test_scalars_in_the_forms_that_can_be_averaged_are_taken() -> None:
    check_training({"loss": LOSS, "error": torch.zeros(1)}, Classification())
    check_evaluation({"loss": torch.zeros(1), "accuracy": 0.5, "further": 1}, Classification(), 4)


def test_a_run_whose_learner_answers_wrongly_ends_with_2_and_a_sentence_before_it_is_made(
    work: Any, capsys: Any
) -> None:
    outcome = cli(capsys, *TINY, "learner._target_=tests.test_answers.Vector", "name=x")
    assert outcome.code == 2 and "Vector.training returned 'loss' as a tensor (4,)" in outcome.err
    assert "Traceback" not in outcome.out + outcome.err
