"""A stream in several processes: each sample once an epoch, losses weighted by samples, exact from any step on."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from runner.data.loaders.batches import Batch
from runner.data.streams.joining import Opening
from tests.support import REPOSITORY
from tests.support.fork_server import ForkServer
from tests.support.ranks import start_ranks


class Scripted:
    """One of two processes, whose other one says what it was told to say."""

    size = 2

    def __init__(self, rank: int, other: list[int]) -> None:
        self.rank, self._other, self.said = rank, other, list[int]()

    def tally(self, numbers: Any) -> Any:
        self.said = list(numbers)
        other = self._other if len(numbers) == 1 else [1, 1, 1, 0]
        return [numbers, other] if self.rank == 0 else [other, numbers]

    def offered(self, value: Any) -> Any:
        return value


def test_equal_first_samples_are_noticed_and_those_without_tensors_are_not_compared() -> None:
    numbers, words = Batch((torch.arange(3),), (3,)), Batch((["a", "b"],), (2,))
    Opening(one := Scripted(0, [7]), numbers)
    assert "the same samples in ranks 0 and 1" in Opening(Scripted(1, one.said), numbers).notices("S")[0]
    assert not Opening(Scripted(1, one.said), Batch((torch.arange(1, 4),), (3,))).notices("S")
    Opening(one := Scripted(0, [7]), words)
    assert not Opening(Scripted(1, one.said), words).notices("S")


READER = str(REPOSITORY / "tests/support/stream_ranks.py")
UNEVEN = [3, 9, 2, 1, 4]  # of several ranks, one ends long before another


def read(process: ForkServer, work: Path, size: int, **asked: Any) -> list[list[Any]]:
    """Return the steps that each rank was given."""
    variables = {rank: {"READ": json.dumps(asked)} for rank in range(size)}
    ranks = start_ranks(process, work, size, program=READER, variables=variables)
    for code, text in [rank.finish(120) for rank in ranks]:
        assert code == 0, text
    return [json.loads((work / f"rank_{rank}.json").read_text()) for rank in range(size)]


def samples(step: Any) -> list[list[int]]:
    """Return the samples of a step in one rank, without stand-ins: number, shard and the number of shards."""
    parts = zip(step["parts"], step["counts"], strict=True)
    assert all(count in (0, len(part)) for part, count in zip(step["parts"], step["counts"], strict=True))
    return [sample for part, count in parts for sample in part[:count]]


def check_steps(steps: Any, shards: int) -> list[Counter[int]]:
    """Return the numbers of each step's samples over all ranks; assert that these agree about it."""
    found = []
    for parts in zip(*steps, strict=True):
        own = [samples(step) for step in parts]
        assert {len(step["counts"]) for step in parts} == {len(parts[0]["counts"])}
        assert {step["ends"] for step in parts} == {parts[0]["ends"]}
        for step, here in zip(parts, own, strict=True):
            assert len(here) + step["elsewhere"] == sum(map(len, own)) > 0
        each = shards // len(parts)
        assert all(
            number // each == rank and count == shards for rank, one in enumerate(own) for _, number, count in one
        )
        found.append(Counter(number for one in own for number, _, _ in one))
    return found


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("size", "sizes"), [(2, UNEVEN), (3, UNEVEN), (2, [5])])
def test_each_sample_is_seen_once_an_epoch_and_a_resume_at_any_step_is_exact(
    work: Path, process: ForkServer, size: int, sizes: list[int], workers: int
) -> None:
    steps = read(process, work, size, sizes=sizes, workers=workers, batch_size=5, accumulate=2, steps=14)
    batches = check_steps(steps, size * max(1, workers))
    ends = [number + 1 for number, step in enumerate(steps[0]) if step["ends"]]
    assert len(ends) > 1
    for first, last in zip([0, *ends], ends, strict=False):
        assert sum(batches[first:last], Counter()) == Counter(range(sum(sizes)))
    assert sizes == [5] or any(not all(step[number]["counts"]) for step in steps for number in range(ends[0]))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["shuffled", "mixed"])
def test_shuffled_and_mixed_streams_are_exact_from_any_step_on(
    work: Path, process: ForkServer, kind: str, workers: int
) -> None:
    read(process, work, 2, kind=kind, workers=workers, batch_size=5, steps=14)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("sizes", [UNEVEN, [4]])
def test_an_evaluation_has_each_sample_once(work: Path, process: ForkServer, sizes: list[int], workers: int) -> None:
    steps = read(process, work, 3, sizes=sizes, workers=workers, batch_size=6)
    batches = check_steps(steps, 3 * max(1, workers))
    assert sum(batches, Counter()) == Counter(range(sum(sizes)))
    assert [step["ends"] for step in steps[0]] == [False] * (len(batches) - 1) + [True]
