"""What a file says of an optimizer is what this one could have come to, or is refused before a step."""

import copy
import random
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn, optim
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts, MultiStepLR, OneCycleLR, ReduceLROnPlateau, StepLR

from runner.optim.agreement import Agreement, begin_buffers, check_scheduler
from tests.support.checkpoints import tutorial_file
from tests.support.command_line import SMALL, cli
from tests.support.comparing import entries_of
from tests.support.forged_archives import edited_value

KINDS: dict[str, dict[str, Any]] = {
    "ASGD": {}, "Adadelta": {}, "Adafactor": {}, "Adagrad": {}, "Adam": {"amsgrad": True}, "AdamW": {}, "Adamax": {},
    "Muon": {}, "NAdam": {}, "RAdam": {}, "RMSprop": {"centered": True, "momentum": 0.5}, "Rprop": {},
    "SGD": {"momentum": 0.9}, "SparseAdam": {},
}  # fmt: skip
REFUSED = (RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError)  # as restore_part does


def made(kind: str, *, agreeing: bool = True) -> tuple[Optimizer, list[nn.Parameter]]:
    """Return an optimizer of torch's on a matrix, and on a vector if it takes one."""
    torch.manual_seed(0)
    parameters = [nn.Parameter(torch.ones(3, 4)), *([] if kind == "Muon" else [nn.Parameter(torch.ones(4))])]
    optimizer: Optimizer = getattr(optim, kind)(parameters, lr=0.1, **KINDS[kind])
    if agreeing:
        optimizer.register_load_state_dict_post_hook(Agreement(optimizer, None))
    return optimizer, parameters


def step(optimizer: Optimizer, parameters: list[nn.Parameter]) -> None:
    for parameter in parameters:
        gradient = torch.full_like(parameter, 0.5)
        parameter.grad = gradient.to_sparse() if isinstance(optimizer, optim.SparseAdam) else gradient
    optimizer.step()


def stored(kind: str) -> Any:
    optimizer, parameters = made(kind)
    step(optimizer, parameters)
    return copy.deepcopy(optimizer.state_dict())


@pytest.mark.parametrize("kind", KINDS)
def test_the_state_of_every_optimizer_of_torchs_is_one_that_it_makes(kind: str) -> None:
    (whole, parameters), (again, same) = made(kind), made(kind)
    for _ in range(2):
        step(whole, parameters)
    step(again, same)
    content, (again, _) = copy.deepcopy(again.state_dict()), made(kind)
    again.load_state_dict(content)
    assert str(again.state_dict()) == str(content)
    again.load_state_dict(made(kind)[0].state_dict())  # as it is before the first step


@pytest.mark.parametrize("count", [40, pytest.param(400, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_stumbles_over_no_state_that_was_taken(kind: str, count: int) -> None:
    content, taken = stored(kind), 0
    for number in range(count):
        optimizer, parameters = made(kind)
        try:
            optimizer.load_state_dict(edited_value(random.Random(number), content))
        except REFUSED:
            continue
        taken += 1
        begin_buffers(optimizer)
        step(optimizer, parameters)
    assert taken < 0.4 * count


@pytest.mark.parametrize(
    "changes",
    [
        {"capturable": True}, {"fused": True}, {"differentiable": True}, {"maximize": True}, {"weight_decay": 1e6},
        {"betas": (0.0, 0.0)}, {"eps": float("nan")}, {"lr": float("inf")}, {"lr": -1.0}, {"x": {}},
    ],
    ids=str,
)  # fmt: skip
def test_settings_of_a_file_that_are_none_of_the_configs_are_refused_by_name(changes: dict[str, Any]) -> None:
    content, (optimizer, _) = stored("Adam"), made("Adam")
    content["param_groups"][0].update(changes)
    with pytest.raises(ValueError, match=next(iter(changes))):
        optimizer.load_state_dict(content)


@pytest.mark.parametrize(("kind", "buffer"), [("Adam", "max_exp_avg_sq"), ("Muon", "momentum_buffer")])
def test_only_sgd_may_have_a_buffer_that_is_none(kind: str, buffer: str) -> None:
    content = stored(kind)
    content["state"][0][buffer] = None
    with pytest.raises(ValueError, match=buffer):
        made(kind)[0].load_state_dict(content)
    content, (optimizer, parameters) = stored("SGD"), made("SGD")
    content["state"][0]["momentum_buffer"] = None
    optimizer.load_state_dict(content)
    step(optimizer, parameters)


@pytest.mark.parametrize("step", [-1.0, 0.5, float("nan"), float("inf"), [1.0]])
def test_a_count_of_steps_is_a_count(step: Any) -> None:
    content, (optimizer, _) = stored("AdamW"), made("AdamW")
    content["state"][0]["step"] = torch.tensor(step)
    with pytest.raises(ValueError, match="'step', which no step makes"):
        optimizer.load_state_dict(content)


def test_a_setting_that_an_older_torch_did_not_store_is_the_configs() -> None:
    content, (optimizer, parameters) = stored("Adam"), made("Adam")
    del content["param_groups"][0]["eps"]
    optimizer.load_state_dict(content)
    assert optimizer.param_groups[0]["eps"] == 1e-8
    step(optimizer, parameters)


@pytest.mark.parametrize("changes", [{"step": 5}, {"milestones": 5}, {"optimizer": {}}, {"last_epoch": -1.5}], ids=str)
def test_a_scheduler_takes_no_method_and_no_setting_out_of_a_file(changes: dict[str, Any]) -> None:
    scheduler = MultiStepLR(made("SGD")[0], [2, 4])
    with pytest.raises(ValueError, match=next(iter(changes))):
        check_scheduler(scheduler, {**scheduler.state_dict(), **changes}, steps=0)


def test_the_state_of_a_scheduler_of_torchs_is_taken_wherever_it_stands() -> None:
    for cls, arguments in (
        (StepLR, (2,)), (CosineAnnealingWarmRestarts, (3,)), (OneCycleLR, (0.5, 9)), (ReduceLROnPlateau, ()),
    ):  # fmt: skip
        fresh, gone_on = (cls(made("SGD")[0], *arguments) for _ in range(2))
        for _ in range(5):
            gone_on.optimizer.step()
            gone_on.step(*([1.0] if cls is ReduceLROnPlateau else []))
        assert fresh.state_dict() != gone_on.state_dict()
        check_scheduler(fresh, gone_on.state_dict(), steps=5)


def test_an_adopted_run_says_the_settings_of_its_file_and_goes_on_with_them(work: Path, capsys: Any) -> None:
    path, model = tutorial_file(work / "theirs.tar")
    theirs = torch.optim.AdamW(model.parameters(), lr=0.03, betas=(0.5, 0.6), eps=1e-5)
    states = {"optimizer_state_dict": theirs.state_dict()}
    tutorial_file(path, **states)
    words = (*SMALL, "optimizer=adamw", "tracker=none", f"resume={path}", "name=x", "epochs=3")
    outcome = cli(capsys, *words, "optimizer.weight_decay=0.5", "checkpoint=every_n_steps", "checkpoint.every_steps=1")
    assert outcome.code == 0, outcome.err
    node = yaml.safe_load(entries_of(Path("outputs/x/last.tar"))["config"])["optimizer"]
    assert (node["betas"], node["eps"], node["weight_decay"]) == ([0.5, 0.6], 1e-5, 0.5)
    outcome = cli(capsys, "resume=outputs/x", "epochs=4")
    assert outcome.code == 0, outcome.err
    group = entries_of(Path("outputs/x/last.tar"))["optimizer_state_dict"]["param_groups"][0]
    assert (list(group["betas"]), group["eps"], group["weight_decay"]) == ([0.5, 0.6], 1e-5, 0.5)
