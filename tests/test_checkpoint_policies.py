import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.checkpoint.policies import (
    Boundary,
    EveryEpochs,
    EveryMinutes,
    EverySteps,
    KeepBest,
    KeepEvery,
    KeepLast,
    Mode,
    OnImprovement,
    Saved,
    Trigger,
    is_better,
    ranked,
)

NAN = float("nan")


def boundary(
    step: int = 1,
    epoch: int = 0,
    *,
    epoch_ended: bool = False,
    improved: bool = False,
    minutes: float = 0.0,
) -> Boundary:
    return Boundary(step, epoch, epoch_ended, improved, minutes)


def saved(*metrics: float | None) -> list[Saved]:
    """Return checkpoints of the steps 10, 20, ... with these metrics."""
    return [Saved(10 * number, Path(f"{number}.tar"), metric) for number, metric in enumerate(metrics, start=1)]


@pytest.mark.parametrize(
    ("trigger", "at", "due"),
    [
        (EverySteps(5), boundary(5), True),
        (EverySteps(5), boundary(10), True),
        (EverySteps(5), boundary(6), False),
        (EverySteps(1), boundary(1), True),
        (EveryEpochs(2), boundary(epoch=2, epoch_ended=True), True),
        (EveryEpochs(2), boundary(epoch=2, epoch_ended=False), False),
        (EveryEpochs(2), boundary(epoch=3, epoch_ended=True), False),
        (EveryMinutes(1.5), boundary(minutes=1.5), True),
        (EveryMinutes(1.5), boundary(minutes=1.4), False),
        (OnImprovement(), boundary(improved=True), True),
        (OnImprovement(), boundary(improved=False), False),
    ],
    ids=str,
)
def test_a_trigger_is_due_at_its_boundaries_only(trigger: Trigger, at: Boundary, due: bool) -> None:
    assert trigger.due(at) is due


@pytest.mark.parametrize(
    ("mode", "candidate", "best", "better"),
    [
        (Mode.min, 0.1, 0.2, True),
        (Mode.min, 0.2, 0.1, False),
        (Mode.max, 0.2, 0.1, True),
        (Mode.max, 0.1, 0.2, False),
        (Mode.min, 0.1, None, True),
        (Mode.min, 0.1, 0.1, False),
        (Mode.max, 0.1, 0.1, False),
        (Mode.min, NAN, None, False),
        (Mode.max, NAN, 0.1, False),
        (Mode.min, math.inf, None, False),
        (Mode.max, math.inf, 0.1, False),
    ],
)
def test_better_is_strictly_better_and_finite(mode: Mode, candidate: float, best: float | None, better: bool) -> None:
    assert is_better(mode, candidate, best) is better


def test_the_last_are_the_newest() -> None:
    assert KeepLast(2).keep(saved(None, None, None)) == {20, 30}


def test_fewer_than_asked_for_are_all_kept() -> None:
    assert KeepLast(5).keep(saved(None, None)) == {10, 20}
    assert KeepBest(5, Mode.min).keep(saved(0.2, 0.1)) == {10, 20}


def test_the_best_are_ranked_by_their_mode() -> None:
    assert KeepBest(2, Mode.min).keep(saved(0.3, 0.1, 0.2)) == {20, 30}
    assert KeepBest(1, Mode.max).keep(saved(0.3, 0.1, 0.2)) == {10}


def test_nan_and_unmeasured_are_never_the_best() -> None:
    for mode in Mode:
        assert KeepBest(3, mode).keep(saved(NAN, 0.5, None, NAN)) == {20}
        assert KeepBest(1, mode).keep(saved(NAN, None)) == set()


def test_a_tie_keeps_the_earlier_one() -> None:
    for mode in Mode:
        assert KeepBest(1, mode).keep(saved(0.5, 0.5, 0.5)) == {10}


def test_zero_is_ranked_like_any_other_metric_and_infinity_never_is() -> None:
    assert [entry.step for entry in ranked(saved(0.0, math.inf, -1.0), Mode.min)] == [30, 10]
    assert [entry.step for entry in ranked(saved(0.0, math.inf, -1.0), Mode.max)] == [10, 30]


def test_every_nth_is_kept_for_ever() -> None:
    assert KeepEvery(20).keep(saved(None, None, None, None)) == {20, 40}


@pytest.mark.parametrize("policy", [KeepLast(2), KeepBest(2, Mode.min), KeepEvery(20)], ids=str)
def test_of_nothing_nothing_is_kept(policy: KeepLast | KeepBest | KeepEvery) -> None:
    assert policy.keep([]) == set()


METRICS = st.lists(st.none() | st.floats())


@given(METRICS, st.integers(1, 10), st.sampled_from(Mode))
def test_nothing_that_was_not_kept_is_better_than_what_was(metrics: list[float | None], count: int, mode: Mode) -> None:
    entries = saved(*metrics)
    kept = KeepBest(count, mode).keep(entries)
    measured = [entry for entry in entries if entry.metric is not None and math.isfinite(entry.metric)]
    assert len(kept) == min(count, len(measured))
    for inside in (entry for entry in measured if entry.step in kept):
        for outside in (entry for entry in measured if entry.step not in kept):
            assert not is_better(mode, outside.metric or 0.0, inside.metric)
