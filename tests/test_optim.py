"""Optimizer state finds its parameter by name, and schedules are functions of the step."""

import pytest
import torch
from torch import nn

from runner.errors import ConfigError
from runner.optim import (
    Cosine,
    CosineRestarts,
    Horizon,
    InverseSqrt,
    MultiStep,
    OneCycle,
    Plateau,
    Step,
    WarmupStableDecay,
    make_scheduler,
    match_by_name,
)
from runner.optim.schedules import Schedule


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


def test_milestones_and_warm_up_count_in_their_unit() -> None:
    schedule = MultiStep(Horizon(40, 4), unit="epoch", milestones=[2, 5.5], gamma=0.1, warmup=0.5)
    factors = [schedule.factor(step) for step in (0, 1, 2, 7, 8, 21, 22)]
    assert factors == pytest.approx([1 / 3, 2 / 3, 1, 1, 0.1, 0.1, 0.01])


def test_one_cycle_rises_to_the_whole_rate_and_falls_to_its_end() -> None:
    schedule = OneCycle(Horizon(100, 10), unit="run", warmup=0.3, start=0.04, final=0.0)
    factors = [schedule.factor(step) for step in range(101)]
    assert factors[0] == pytest.approx(0.04) and factors[30] == 1.0 and factors[100] == pytest.approx(0.0)
    assert factors[:31] == sorted(factors[:31]) and factors[30:] == sorted(factors[30:], reverse=True)


def factors_of(scheduler: torch.optim.lr_scheduler.LRScheduler, steps: int) -> list[float]:
    """Return the rates of a scheduler of torch's, on an optimizer of rate 1, from the first step on."""
    found = []
    for _ in range(steps):
        found.append(scheduler.optimizer.param_groups[0]["lr"])
        scheduler.optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize("mult", [1, 2, 3])
def test_cosine_restarts_is_torchs(mult: int) -> None:
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=5, T_mult=mult, eta_min=0.1)
    ours = CosineRestarts(Horizon(None, 5), unit="epoch", warmup=0, period=1, mult=mult, final=0.1)
    assert [ours.factor(step) for step in range(60)] == pytest.approx(factors_of(theirs, 60))
    late = CosineRestarts(Horizon(None, 5), unit="step", warmup=4, period=5, mult=mult, final=0.1)
    assert [late.factor(step + 4) for step in range(60)] == [ours.factor(step) for step in range(60)]


def test_inverse_sqrt_rises_and_falls_as_its_paper_says_without_an_end() -> None:
    schedule = InverseSqrt(Horizon(None, 2), unit="epoch", warmup=2)
    expected = [1 / 5, 2 / 5, 3 / 5, 4 / 5, 1.0, (4 / 5) ** 0.5, (4 / 6) ** 0.5]
    assert [schedule.factor(step) for step in range(7)] == pytest.approx(expected)
    assert schedule.factor(400) == 0.1
    with pytest.raises(ConfigError, match="needs to know the end"):
        InverseSqrt(Horizon(None, 2), unit="run", warmup=0.1)


@pytest.mark.parametrize(("shape", "half"), [("linear", 0.55), ("sqrt", 1 - 0.9 * 0.5**0.5)])
def test_warmup_stable_decay_is_whole_until_its_fall_at_the_end(shape: str, half: float) -> None:
    schedule = WarmupStableDecay(Horizon(100, 10), unit="run", warmup=0.1, decay=0.2, final=0.1, shape=shape)
    factors = [schedule.factor(step) for step in range(101)]
    assert factors[0] == 1 / 11 and set(factors[10:81]) == {1.0} and factors[81] < 1
    assert factors[90] == pytest.approx(half) and factors[100] == pytest.approx(0.1)
    assert factors[:11] == sorted(factors[:11]) and factors[80:] == sorted(factors[80:], reverse=True)


def test_a_linear_decay_is_torchs() -> None:
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    fall = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.25, total_iters=6)
    schedule = WarmupStableDecay(Horizon(10, 5), unit="step", warmup=0, decay=6, final=0.25)
    assert [schedule.factor(step) for step in range(4, 11)] == pytest.approx(factors_of(fall, 7))


def test_a_decay_longer_than_the_run_begins_after_the_warm_up() -> None:
    schedule = WarmupStableDecay(Horizon(10, 5), unit="step", warmup=2, decay=50, final=0)
    assert [schedule.factor(step) for step in (1, 2, 6, 10, 11)] == [2 / 3, 1, 0.5, 0, 0]
    whole = WarmupStableDecay(Horizon(3, 5), unit="step", warmup=8, decay=1, final=0)
    assert [whole.factor(step) for step in (0, 2, 9)] == [1 / 9, 3 / 9, 0]


SCHEDULES = (
    Cosine(Horizon(12, 4), unit="step", warmup=3, final=0.1),
    Step(Horizon(12, 4), unit="epoch", every=1, gamma=0.5, warmup=0.75),
    MultiStep(Horizon(12, 4), unit="step", milestones=[5, 9], gamma=0.3, warmup=4),
    OneCycle(Horizon(12, 4), unit="run", warmup=0.5, start=0.1, final=0.01),
    WarmupStableDecay(Horizon(12, 4), unit="step", warmup=3, decay=6, final=0.1, shape="sqrt"),
    InverseSqrt(Horizon(None, 4), unit="epoch", warmup=1),
    CosineRestarts(Horizon(None, 4), unit="step", warmup=2, period=3, mult=2, final=0.1),
)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: type(schedule).__name__)
def test_a_schedule_goes_on_from_any_step_as_if_it_had_not_been_interrupted(schedule: Schedule) -> None:
    def rates(
        optimizer: torch.optim.Optimizer, scheduler: torch.optim.lr_scheduler.LambdaLR, count: int
    ) -> list[float]:
        found = []
        for _ in range(count):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        return found

    optimizer = adam(nn.Linear(2, 2))
    whole = rates(optimizer, make_scheduler(optimizer, schedule.factor), 12)
    assert len(set(whole)) > 3
    for at in range(12):
        optimizer = adam(nn.Linear(2, 2))
        scheduler = make_scheduler(optimizer, schedule.factor)
        before = rates(optimizer, scheduler, at)
        again = adam(nn.Linear(2, 2))
        other = make_scheduler(again, schedule.factor)
        again.load_state_dict(optimizer.state_dict())
        other.load_state_dict(scheduler.state_dict())
        assert before + rates(again, other, 12 - at) == whole


def plateau(epochs: float, **options: float) -> tuple[torch.optim.Optimizer, Plateau]:
    """Return an optimizer of rate 1 with a plateau's rule, in a run of 4 steps an epoch."""
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    return optimizer, Plateau(optimizer, Horizon(None, 4), warmup=epochs, factor=0.5, patience=1, **options)


def test_a_plateau_without_a_warm_up_is_torchs() -> None:
    theirs = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    rule = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, factor=0.5, patience=1, min_lr=0.3)
    ours, scheduler = plateau(0, min_lr=0.3)
    for metric in [3.0, 2.0, 2.5, 2.5, 1.0, 1.5, 1.5, 1.5, 1.5, 0.5]:
        rule.step(metric)
        scheduler.advance()
        scheduler.step(metric)
        assert ours.param_groups[0]["lr"] == theirs.param_groups[0]["lr"]
    assert ours.param_groups[0]["lr"] == 0.3
    assert all(scheduler.state_dict()[key] == value for key, value in rule.state_dict().items())


def test_a_plateaus_evaluations_count_from_the_end_of_its_warm_up() -> None:
    optimizer, scheduler = plateau(0.75)
    rates = []
    for _ in range(8):
        rates.append(optimizer.param_groups[0]["lr"])
        scheduler.advance()
        scheduler.step(1.0)
    assert rates == [0.25, 0.5, 0.75, 1.0, 1.0, 0.5, 0.5, 0.25]


def test_a_plateaus_warm_up_is_the_configs_and_not_the_files() -> None:
    optimizer, scheduler = plateau(0.75)
    _, other = plateau(0)
    for _ in range(4):
        other.advance()
        other.step(1.0)
    scheduler.load_state_dict(other.state_dict())
    scheduler.recompute()
    assert optimizer.param_groups[0]["lr"] == other.base_lrs[0] == 0.5
    scheduler.steps = 1
    scheduler.recompute()
    assert optimizer.param_groups[0]["lr"] == 0.25
