"""What a trial of two samples finds before a run begins, and that it leaves no trace."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from runner.data import Synthetic
from runner.errors import ConfigError
from runner.learners import Classification, Regression
from runner.models import ResNet
from runner.wiring.build import Problem
from runner.wiring.targets import Trust
from runner.wiring.trial import try_on_two_samples
from tests.support import cli


class Watching(Classification):
    """Is the user's own: a call would be one too many."""

    def evaluation(self, models: Any, batch: Any) -> dict[str, Tensor]:
        raise AssertionError


def problem(learner: Any, classes: int = 3) -> Problem:
    torch.manual_seed(0)
    data = Synthetic(shape=(1, 8, 8), classes=3, size=20)
    return Problem(data, learner, {"model": ResNet(1, classes, depth=8)}, Trust())


def test_a_trial_draws_nothing_and_changes_nothing() -> None:
    tried = problem(Classification())
    model = tried.models["model"]
    model.norm.eval()  # type: ignore[operator, union-attr]
    modes = [module.training for module in model.modules()]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    generators = random.getstate(), torch.get_rng_state(), str(np.random.get_state())
    try_on_two_samples(tried)
    assert random.getstate() == generators[0] and torch.equal(torch.get_rng_state(), generators[1])
    assert str(np.random.get_state()) == generators[2]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_model_with_too_few_classes_or_for_another_learner_is_found() -> None:
    with pytest.raises(ConfigError, match="returns 2 classes"):
        try_on_two_samples(problem(Classification(), classes=2))
    with pytest.raises(ConfigError, match="as many"):
        try_on_two_samples(problem(Regression()))


def test_nothing_of_the_users_own_is_called() -> None:
    try_on_two_samples(problem(Watching(), classes=2))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["learner=regression"], "the model returns (10,) numbers a sample and the targets have ()"),
        (["+model.in_features=3"], "the model does not fit Synthetic and Classification: mat1 and mat2"),
        (["data=arrays", "data.path=a.npz"], "choose learner=regression"),
    ],
)
def test_what_does_not_fit_is_exit_code_2_and_nothing_made(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("a.npz", train_inputs=np.zeros((20, 4)), train_targets=np.zeros(20))
    outcome = cli(capsys, "data=synthetic", "model=mlp", "device=cpu", "max_steps=1", *words)
    assert outcome.code == 2 and outcome.err.startswith("error: ") and said in outcome.err, outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]
