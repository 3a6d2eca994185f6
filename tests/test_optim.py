"""Optimizer state finds its parameter by name, and schedules are functions of the step."""

import pytest
import torch
from torch import nn

from runner.optim import Cosine, Horizon, Step, make_scheduler, match_by_name


class Two(nn.Module):
    """Two layers of one shape, in either order."""

    def __init__(self, *order: str) -> None:
        super().__init__()
        for name in order:
            self.add_module(name, nn.Linear(3, 3, bias=False))


def adam(model: nn.Module) -> torch.optim.Adam:
    """Return Adam with names and our matching."""
    optimizer = torch.optim.Adam(list(model.named_parameters()))
    optimizer.register_load_state_dict_pre_hook(match_by_name)
    return optimizer


def stepped(model: nn.Module) -> torch.optim.Adam:
    """Return an optimizer whose moments are those of a first step with gradients 1 and 2."""
    optimizer = adam(model)
    for value, (_, parameter) in enumerate(sorted(model.named_parameters()), start=1):
        parameter.grad = torch.full_like(parameter, float(value))
    optimizer.step()
    return optimizer


def test_moments_follow_their_parameter_when_layers_change_places() -> None:
    saved = stepped(Two("a", "b")).state_dict()
    other = Two("b", "a")
    optimizer = adam(other)
    optimizer.load_state_dict(saved)
    moments = {name: optimizer.state[parameter]["exp_avg"] for name, parameter in other.named_parameters()}
    assert torch.equal(moments["a.weight"], torch.full((3, 3), 0.1))
    assert torch.equal(moments["b.weight"], torch.full((3, 3), 0.2))


def test_other_names_are_refused_and_named() -> None:
    with pytest.raises(ValueError, match=r"c\.weight"):
        adam(Two("a", "c")).load_state_dict(stepped(Two("a", "b")).state_dict())


def test_cosine_warms_up_and_ends_at_its_final_share() -> None:
    schedule = Cosine(Horizon(100, 10), unit="epoch", warmup=1, final=0.1)
    factors = [schedule.factor(step) for step in range(101)]
    assert factors[0] == 1 / 11 and factors[10] == 1.0 and factors[100] == pytest.approx(0.1)
    assert factors[:11] == sorted(factors[:11]) and factors[10:] == sorted(factors[10:], reverse=True)


def test_step_counts_in_its_unit() -> None:
    schedule = Step(Horizon(None, 5), unit="epoch", every=2, gamma=0.5)
    assert [schedule.factor(step) for step in (0, 9, 10, 19, 20)] == [1.0, 1.0, 0.5, 0.5, 0.25]


def test_a_schedule_leaves_its_horizon_out_of_the_state() -> None:
    optimizer = adam(Two("a"))
    state = make_scheduler(optimizer, Step(Horizon(None, 5), unit="step", every=2, gamma=0.5).factor).state_dict()
    assert state["lr_lambdas"] == [None]
