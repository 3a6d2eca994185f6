import math
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.checkpoint.policies import (
    Boundary,
    EveryEpochs,
    EveryMinutes,
    EveryPart,
    EverySteps,
    KeepBest,
    KeepEvery,
    KeepLast,
    Mode,
    OnImprovement,
    Retention,
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
    step_in_epoch: int = 1,
    improved: bool = False,
) -> Boundary:
    return Boundary(step, epoch, step_in_epoch, improved)


def kept(policy: Retention, entries: list[Saved]) -> set[int]:
    """Return the steps of what a policy keeps."""
    paths = policy.keep(entries)
    return {entry.step for entry in entries if entry.path in paths}


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
        (EveryEpochs(2), boundary(epoch=2, step_in_epoch=0), True),
        (EveryEpochs(2), boundary(epoch=2, step_in_epoch=1), False),
        (EveryEpochs(2), boundary(epoch=3, step_in_epoch=0), False),
        (EveryMinutes(1.5), 1.5, True),
        (EveryMinutes(1.5), 1.4, False),
        (OnImprovement(), boundary(improved=True), True),
        (OnImprovement(), boundary(improved=False), False),
    ],
    ids=str,
)
def test_a_trigger_is_due_at_its_boundaries_only(trigger: Trigger, at: Boundary, due: bool) -> None:
    assert trigger.due(at) is due


@pytest.mark.parametrize(
    ("part", "steps", "due"),
    [
        ("0.5", 3, {2, 3, 5, 6}),
        ("0.25", 10, {3, 5, 8, 10, 13, 15, 18, 20}),
        ("0.1", 10, set(range(1, 21))),
        ("0.01", 5, set(range(1, 11))),
        ("0.3", 10, {3, 6, 9, 12, 15, 18}),
        ("1.5", 10, {15}),
    ],
)
def test_a_part_of_an_epoch_is_due_at_the_first_step_that_reaches_it(part: str, steps: int, due: set[int]) -> None:
    trigger = EveryPart(Fraction(part), steps)
    found = {at for at in range(1, 2 * steps + 1) if trigger.due(boundary(at, at // steps, step_in_epoch=at % steps))}
    assert found == due


def test_a_longer_epoch_than_the_first_is_divided_as_the_first() -> None:
    trigger = EveryPart(Fraction("0.5"), 4)
    assert [step for step in range(8) if trigger.due(boundary(epoch=1, step_in_epoch=step))] == [0, 2]


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
    assert kept(KeepLast(2), saved(None, None, None)) == {20, 30}


def test_fewer_than_asked_for_are_all_kept() -> None:
    assert kept(KeepLast(5), saved(None, None)) == {10, 20}
    assert kept(KeepBest(5, Mode.min), saved(0.2, 0.1)) == {10, 20}


def test_the_best_are_ranked_by_their_mode() -> None:
    assert kept(KeepBest(2, Mode.min), saved(0.3, 0.1, 0.2)) == {20, 30}
    assert kept(KeepBest(1, Mode.max), saved(0.3, 0.1, 0.2)) == {10}


def test_nan_and_unmeasured_are_never_the_best() -> None:
    for mode in Mode:
        assert kept(KeepBest(3, mode), saved(NAN, 0.5, None, NAN)) == {20}
        assert kept(KeepBest(1, mode), saved(NAN, None)) == set()


def test_a_tie_keeps_the_earlier_one() -> None:
    for mode in Mode:
        assert kept(KeepBest(1, mode), saved(0.5, 0.5, 0.5)) == {10}


def test_zero_is_ranked_like_any_other_metric_and_infinity_never_is() -> None:
    assert [entry.step for entry in ranked(saved(0.0, math.inf, -1.0), Mode.min)] == [30, 10]
    assert [entry.step for entry in ranked(saved(0.0, math.inf, -1.0), Mode.max)] == [10, 30]


def test_two_files_of_an_equal_step_count_as_two() -> None:
    first, again = Saved(10, Path("10.tar"), None), Saved(10, Path("10.2.tar"), 0.5)
    assert KeepLast(1).keep([first, again]) == KeepBest(1, Mode.min).keep([first, again]) == {again.path}
    assert KeepLast(2).keep([first, again]) == KeepEvery(10).keep([first, again]) == {first.path, again.path}


def test_every_nth_is_kept_for_ever() -> None:
    assert kept(KeepEvery(20), saved(None, None, None, None)) == {20, 40}


@pytest.mark.parametrize("policy", [KeepLast(2), KeepBest(2, Mode.min), KeepEvery(20)], ids=str)
def test_of_nothing_nothing_is_kept(policy: KeepLast | KeepBest | KeepEvery) -> None:
    assert policy.keep([]) == set()


METRICS = st.lists(st.none() | st.floats())


@given(METRICS, st.integers(1, 10), st.sampled_from(Mode))
def test_nothing_that_was_not_kept_is_better_than_what_was(metrics: list[float | None], count: int, mode: Mode) -> None:
    entries = saved(*metrics)
    chosen = KeepBest(count, mode).keep(entries)
    measured = [entry for entry in entries if entry.metric is not None and math.isfinite(entry.metric)]
    assert len(chosen) == min(count, len(measured))
    for inside in (entry for entry in measured if entry.path in chosen):
        for outside in (entry for entry in measured if entry.path not in chosen):
            assert not is_better(mode, outside.metric or 0.0, inside.metric)
