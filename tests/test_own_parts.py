"""What people's own data, learners and schedulers have of the runner: keys that are reserved, modes, units."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import ExponentialLR, LambdaLR

from runner.errors import ConfigError
from runner.wiring.build.updating import check_model_names, counts_epochs, node_of
from tests.support.command_line import TINY, cli

EXPONENTIAL = ("scheduler=own", "scheduler._target_=torch.optim.lr_scheduler.ExponentialLR", "+scheduler.gamma=0.9")


def evaluated(capsys: Any) -> float:
    """Return the loss of the best checkpoint on the data that it was chosen by."""
    outcome = cli(capsys, "task=evaluate", "checkpoint_path=outputs/x/best.tar", "data.split=val")
    assert outcome.code == 0, outcome.err
    return float(json.loads(outcome.out.splitlines()[-1])["loss"])


def claimed(runs: Path) -> float:
    return float(json.loads((runs / "x/status.json").read_text())["best_metric"])


def test_own_data_keep_their_augment_in_an_evaluation(runs: Path, capsys: Any) -> None:
    outcome = cli(capsys, *TINY, "data._target_=tests.own.points.Cropped", "+data.augment=false", "name=x", "epochs=1")
    assert outcome.code == 0, outcome.err
    assert evaluated(capsys) == claimed(runs)


def test_a_module_that_a_learner_keeps_is_evaluated_in_its_mode_for_that(runs: Path, capsys: Any) -> None:
    outcome = cli(capsys, *TINY, "learner._target_=tests.own.learners.Following", "name=x", "epochs=1")
    assert outcome.code == 0, outcome.err
    assert evaluated(capsys) == claimed(runs)


@pytest.mark.parametrize(
    "word", ["workers=abc", "workers=-1", "workers=null", "workers=1.5", "timeout=soon", "split=vall", "split=0.8"]
)
def test_a_reserved_key_of_own_data_is_checked(runs: Path, capsys: Any, word: str) -> None:
    outcome = cli(capsys, *TINY, f"data.{word}")
    assert outcome.code == 2 and f"data.{word.replace('null', 'None')}" in outcome.err and not runs.exists()


def test_a_scheduler_of_torchs_moves_once_a_step_or_once_an_epoch(runs: Path, capsys: Any) -> None:
    outcome = cli(capsys, *TINY, *EXPONENTIAL, "scheduler.unit=weeks")
    assert outcome.code == 2 and "scheduler.unit=weeks is invalid" in outcome.err and not runs.exists()


def test_a_unit_is_a_models_own_or_the_one_that_all_share() -> None:
    optimizer = torch.optim.SGD(torch.nn.Linear(1, 1).parameters())
    mine, ours = ExponentialLR(optimizer, 0.9), LambdaLR(optimizer, lambda step: 1.0)
    node = {"unit": "epoch", "painter": {"_target_": "x", "unit": "step"}, "critic": {"_target_": "x"}}
    units = [counts_epochs(mine, node_of(node, name)) for name in ("painter", "critic", "model")]
    assert units == [False, True, True] and not counts_epochs(ours, node_of(node, "critic"))


def test_options_for_a_model_that_is_none_are_refused() -> None:
    options = {"painter": {"_target_": "x"}, "critic": {"_target_": "x"}}
    check_model_names({"optimizer": options, "scheduler": {"_target_": "x", "more": {}}}, options)
    with pytest.raises(ConfigError, match=r"scheduler\.paintr is not for a model .* painter, critic"):
        check_model_names({"optimizer": options, "scheduler": {"paintr": {"_target_": "x"}}}, options)
