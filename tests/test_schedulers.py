"""Every scheduler of torch's, and one's own: it trains and is resumed bit for bit, or is refused in a sentence."""

from pathlib import Path
from typing import Any

import pytest
from torch.optim import lr_scheduler

from tests.support.command_line import TINY, cli
from tests.support.comparing import assert_same_run

SCHEDULERS = {
    "StepLR": ("+scheduler.step_size=2",),
    "MultiStepLR": ("+scheduler.milestones=[2,5]",),
    "ConstantLR": ("+scheduler.total_iters=3",),
    "LinearLR": ("+scheduler.total_iters=5",),
    "ExponentialLR": ("+scheduler.gamma=0.8",),
    "PolynomialLR": ("+scheduler.total_iters=7", "+scheduler.power=2"),
    "CosineAnnealingLR": ("+scheduler.T_max=7",),
    "CosineAnnealingWarmRestarts": ("+scheduler.T_0=3",),
    "CyclicLR": (
        "+scheduler.base_lr=0.01",
        "+scheduler.max_lr=0.1",
        "+scheduler.step_size_up=2",
        "+scheduler.mode=triangular2",
    ),
    "OneCycleLR": ("+scheduler.max_lr=0.1", "+scheduler.total_steps=20"),
    "ReduceLROnPlateau": ("+scheduler.patience=0", "+scheduler.threshold=0.5", "scheduler.unit=evaluation"),
}
REFUSED = {
    "LRScheduler": (),
    "LambdaLR": ("+scheduler.lr_lambda=0.5",),
    "MultiplicativeLR": ("+scheduler.lr_lambda=0.5",),
    "SequentialLR": ("+scheduler.schedulers=[]", "+scheduler.milestones=[]"),
    "ChainedScheduler": ("+scheduler.schedulers=[]",),
}
FAST = ("CyclicLR", "OneCycleLR", "ReduceLROnPlateau")


def test_none_of_torchs_schedulers_is_forgotten() -> None:
    schedulers = (one for one in vars(lr_scheduler).values() if isinstance(one, type))
    found = {one.__name__ for one in schedulers if issubclass(one, lr_scheduler.LRScheduler)}
    assert {name for name in found if not name.startswith("_")} == SCHEDULERS.keys() | REFUSED.keys()


@pytest.mark.parametrize("unit", ["step", "epoch"])
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in SCHEDULERS]
)
def test_a_scheduler_of_torchs_is_resumed_bit_for_bit(
    runs: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch, name: str, unit: str
) -> None:
    target = f"scheduler._target_=torch.optim.lr_scheduler.{name}"
    own = ("optimizer=sgd", "scheduler=own", f"scheduler.unit={unit}", target, *SCHEDULERS[name])
    outcome = cli(capsys, *TINY, *own, "name=whole")
    assert outcome.code == 0, outcome.err + outcome.out
    monkeypatch.setenv("STOP_AT", "5")
    assert cli(capsys, *TINY, *own, "name=x").code == 75
    monkeypatch.delenv("STOP_AT")
    assert cli(capsys, "resume=outputs/x").code == 0
    assert_same_run(runs / "whole", runs / "x")


@pytest.mark.parametrize("name", REFUSED)
def test_a_scheduler_that_no_config_can_build_is_refused_in_a_sentence(runs: Path, capsys: Any, name: str) -> None:
    target = f"scheduler._target_=torch.optim.lr_scheduler.{name}"
    outcome = cli(capsys, *TINY, "scheduler=own", target, *REFUSED[name], "name=x")
    assert outcome.code == 2 and outcome.err.count("\n") == 1 and name in outcome.err, outcome.err
    assert not runs.exists()


def test_a_scheduler_that_is_none_of_torchs_kind_is_told_what_it_would_need(runs: Path, capsys: Any) -> None:
    outcome = cli(capsys, *TINY, "scheduler=own", "scheduler._target_=tests.own.optim.Homemade", "name=x")
    assert (
        outcome.code == 2 and "derive it from torch.optim.lr_scheduler.LRScheduler" in outcome.err and not runs.exists()
    )
