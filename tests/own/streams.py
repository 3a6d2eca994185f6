"""Streams of a user's own: right ones, and each wrong in one way."""

import os
import random
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from runner.data.streams.combined import Mixed, Shuffled
from tests.own.points import Points

Sample = tuple[Tensor, Tensor]


class Shards(IterableDataset[Sample]):
    """Noisy points from files of 3, 5, 2, ... samples; each worker reads every n-th file, and counts its epochs."""

    def __init__(self, files: int = 5, first: int = 0) -> None:
        self.sizes = [3 + (2 * number) % 4 for number in range(files)]
        self.points = Points(first + sum(self.sizes))
        self.first = first
        self.file = self.place = self.epoch = 0

    def __iter__(self) -> Iterator[Sample]:
        info = get_worker_info()
        count, number = (1, 0) if info is None else (info.num_workers, info.id)
        own = range(number, len(self.sizes), count)
        while self.file < len(own):
            file = own[self.file]
            while self.place < self.sizes[file]:
                self.place += 1
                inputs, target = self.points[self.first + sum(self.sizes[:file]) + self.place - 1]
                yield inputs + 0.1 * self.epoch + 0.01 * random.random(), target
            self.file, self.place = self.file + 1, 0
        self.file, self.epoch = 0, self.epoch + 1

    def state_dict(self) -> dict[str, Any]:
        return {"file": self.file, "place": self.place, "epoch": self.epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.file, self.place, self.epoch = state["file"], state["place"], state["epoch"]


class Finite(IterableDataset[Sample]):
    """Begins anew in each iteration; has no state."""

    def __iter__(self) -> Iterator[Sample]:
        info = get_worker_info()
        count, number = (1, 0) if info is None else (info.num_workers, info.id)
        points = Points(11)
        yield from (points[index] for index in range(number, 11, count))


class Restarting(Shards):
    """Forgets where it was."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.file = self.place = 0


class TooLate(Shards):
    """Counts a sample after it was taken."""

    def __iter__(self) -> Iterator[Sample]:
        while self.place < 14:
            yield self.points[self.place]
            self.place += 1
        self.place = 0


class Private(Shards):
    """Draws from a generator that its state leaves out."""

    def __init__(self) -> None:
        super().__init__()
        self.noise = torch.Generator().manual_seed(0)

    def __iter__(self) -> Iterator[Sample]:
        for inputs, target in super().__iter__():
            yield inputs + torch.rand(1, generator=self.noise), target


class Once(Shards):
    """Is empty from the second epoch on."""

    def __iter__(self) -> Iterator[Sample]:
        yield from super().__iter__() if self.epoch == 0 else ()


class Numbers(IterableDataset[Any]):
    """Numbers of samples, in files of these sizes; each shard reads every n-th file, and says which shard it is."""

    def __init__(self, sizes: list[int]) -> None:
        self.files = [range(sum(sizes[:file]), sum(sizes[: file + 1])) for file in range(len(sizes))]
        self.file = self.place = 0

    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info()
        number, count = (0, 1) if info is None else (info.id, info.num_workers)
        own = self.files[number::count]
        while self.file < len(own):
            while self.place < len(own[self.file]):
                self.place += 1
                yield self.sample(own[self.file][self.place - 1], number, count)
            self.file, self.place = self.file + 1, 0
        self.file = 0

    def sample(self, sample: int, shard: int, shards: int) -> Any:
        return torch.tensor([sample, shard, shards])

    def state_dict(self) -> dict[str, int]:
        return {"file": self.file, "place": self.place}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.file, self.place = state["file"], state["place"]


class Featured(Numbers):
    """The same, as samples to classify, which follow from their numbers."""

    def sample(self, sample: int, shard: int, shards: int) -> Sample:
        return torch.tensor([sample % 7 - 3.0, sample % 5 - 2.0, sample / 10, 1.0]), torch.tensor(sample % 2)


class Undivided(Shards):
    """Gives every shard all of its files."""

    def __iter__(self) -> Iterator[Sample]:
        while self.place < 14:
            self.place += 1
            yield self.points[self.place - 1]
        self.place = 0


class Breaking(Shards):
    """Cannot be read from an epoch on, in the process that the environment says it of."""

    def __iter__(self) -> Iterator[Sample]:
        if self.epoch == int(os.environ.get("BREAK_AT", "-1")):
            raise ValueError("a broken disk")
        yield from super().__iter__()


STREAMS = {
    "shards": Shards,
    "shuffled": lambda: Shuffled(Shards(), block=6),
    "mixed": lambda: Mixed({"one": Shards(), "two": Shuffled(Shards(7, first=4), 4)}, {"one": 1, "two": 2}),
    "finite": Finite,
    "restarting": Restarting,
    "too_late": TooLate,
    "private": Private,
    "once": Once,
    "undivided": Undivided,
    "breaking": Breaking,
}


class Streaming:
    """Any of them to train on, and a map-style set or a stream for validation."""

    in_features, num_classes = 4, 2

    def __init__(self, kind: str = "shards", val: str = "points") -> None:
        self.train = STREAMS[kind]()
        self.val = Points(11) if val == "points" else STREAMS[val]()


class Featuring:
    """Numbered samples in files of uneven sizes to train on, and a stream of such files for validation."""

    in_features, num_classes = 4, 2

    def __init__(self, sizes: list[int], val: list[int]) -> None:
        self.train, self.val = Featured([*sizes]), Featured([*val])
