"""Modules that run again in the backward pass change no number and no name."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from runner.errors import ConfigError
from runner.models import ResNet
from runner.models.resnet import Block
from runner.strategy.recomputing import recompute
from tests.support.command_line import TINY, cli
from tests.support.comparing import assert_same_run, same


class Dropped(nn.Module):
    """A layer of keyword arguments, whose buffer decides its output and moves with each call."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.register_buffer("scale", torch.ones(()))

    def forward(self, inputs: Tensor, *, share: Tensor) -> Any:
        self.scale = self.scale * 1.5
        dropped = nn.functional.dropout(self.linear(inputs), 0.5)
        return {"out": dropped.sigmoid() * self.scale + share}


class Net(nn.Module):
    """Images to numbers, with BatchNorm, dropout and spectral_norm on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.body = ResNet(1, 3, 8)
        self.drop = nn.Dropout(0.5)
        self.normed = nn.utils.parametrizations.spectral_norm(nn.Linear(3, 3))
        self.dropped = Dropped()

    def forward(self, inputs: Tensor) -> Tensor:
        x = self.normed(self.drop(self.body(inputs)))
        out: Tensor = self.dropped(x, share=x.mean())["out"]
        return out


def trained(*chosen: str) -> dict[str, Any]:
    """Return all that two steps of two forward passes leave behind."""
    torch.manual_seed(0)
    model = Net()
    recompute([model], chosen)
    optimizer = torch.optim.SGD(model.named_parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        inputs = torch.randn(4, 1, 8, 8)
        (model(inputs).square().sum() + model(2 * inputs).square().sum()).backward()
        optimizer.step()
    gradients = {name: one.grad for name, one in model.named_parameters()}
    return {"gradients": gradients, "state": dict(model.state_dict()), "random": torch.get_rng_state()}


@pytest.mark.parametrize(
    "chosen",
    [("Block",), ("Net",), ("ResNet", "Block", "BatchNorm2d"), ("Dropout", "^normed$", "Dropped"), ("stages",)],
)
def test_gradients_buffers_names_and_random_numbers_are_what_they_are_without(chosen: tuple[str, ...]) -> None:
    assert same(trained(*chosen), trained())


def test_a_module_runs_again_only_where_it_has_a_gradient() -> None:
    model, runs = Net(), []
    model.body.conv.register_forward_pre_hook(lambda *_: runs.append(1))
    recompute([model], ["ResNet"])
    with torch.no_grad():
        model(torch.zeros(2, 1, 8, 8))
    assert len(runs) == 1
    out = model(torch.zeros(2, 1, 8, 8))
    assert len(runs) == 2
    out.sum().backward()
    assert len(runs) == 3


def test_copies_and_replicas_run_with_their_own_weights() -> None:
    model = nn.Sequential(nn.Linear(2, 1, bias=False), nn.ReLU())
    recompute([model], ["Linear"])
    for other in (deepcopy(model)[0], model[0]._replicate_for_data_parallel()):
        other.weight, other.bias = nn.Parameter(torch.full((1, 2), 7.0)), None
        assert other(torch.ones(1, 2)).item() == 14.0


def test_a_class_keeps_its_name_and_its_kind() -> None:
    model = ResNet(1, 3, 8)
    recompute([model], ["Block"])
    block = model.stages[0][0]  # type: ignore[index]
    assert isinstance(block, Block) and repr(type(block)) == repr(Block) and repr(model) == repr(ResNet(1, 3, 8))


def test_what_is_no_module_is_refused_with_the_classes_that_there_are() -> None:
    models = [nn.Sequential(nn.Linear(1, 1)), nn.ReLU()]
    recompute(models, ["ReLU", "0"])
    with pytest.raises(ConfigError, match=r"=\[Block\] is no class .* the classes are Linear, ReLU, Sequential$"):
        recompute(models, ["Block"])
    with pytest.raises(ConfigError, match="neither a class nor a regular expression"):
        recompute(models, ["("])


def test_a_run_that_recomputes_ends_in_the_same_bits(runs: Path, capsys: Any) -> None:
    words = (*TINY, "ema.decay=0.9", "max_steps=3")
    assert cli(capsys, *words, "name=whole").code == 0
    assert cli(capsys, *words, "name=x", "device.checkpoint_activations=[Mlp,Linear]").code == 0
    assert_same_run(runs / "whole", runs / "x")
