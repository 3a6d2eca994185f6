"""Streams made of streams, shuffled or mixed, with small states."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import torch
from torch.utils.data import IterableDataset

from runner.data.loaders.seeding import borrowed_generators, mixed, seed_generators
from runner.data.streams.limited import tell_epoch
from runner.data.streams.states import frozen, thawed
from runner.errors import ConfigError


class Shuffled(IterableDataset[Any]):
    """Shuffles a stream in blocks; Stateful.

    The state names the beginning of the block and the place in it, not its samples: a resume reads the block again.
    """

    def __init__(self, stream: Any, block: int) -> None:
        """Read `block` samples of a stream at a time, and deliver them in random order.

        Raises:
            ConfigError: `block` is not above 0.
        """
        if block < 1:
            raise ConfigError(f"block={block} is invalid; use a number of samples above 0")
        self._stream, self._block = stream, block
        self._begun: bytes | None = None
        self._seed: int | None = None
        self._place = 0

    def __iter__(self) -> Iterator[Any]:
        """Return an iterator from the restored position, else from the beginning."""
        if self._seed is None:
            self._seed = int(torch.randint(2**62, ()))
        if self._begun is not None:
            self._stream.load_state_dict(thawed(self._begun))
        samples, block = iter(self._stream), [None] * self._block
        while len(block) == self._block:
            self._begun = self._begun or frozen(self._stream.state_dict())
            with borrowed_generators():
                seed_generators(self._seed)  # the same samples when the block is read again
                block = list(islice(samples, self._block))
                order = torch.randperm(len(block)).tolist()
            while self._place < len(block):
                self._place += 1
                yield block[order[self._place - 1]]
            self._begun, self._seed, self._place = None, mixed(self._seed), 0
        self._seed = None

    def set_epoch(self, epoch: int) -> None:
        """Tell the stream the epoch, if it wants to know."""
        tell_epoch(self._stream, epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the stream at the beginning of the block, and the place in the block."""
        begun = None if self._begun is None else thawed(self._begun)
        stream = self._stream.state_dict() if begun is None else None
        return {"stream": stream, "begun": begun, "seed": self._seed, "place": self._place}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore the state."""
        self._begun = None if state_dict["begun"] is None else frozen(state_dict["begun"])
        self._stream.load_state_dict(state_dict["stream"] if self._begun is None else state_dict["begun"])
        self._seed, self._place = state_dict["seed"], state_dict["place"]


class Mixed(IterableDataset[Any]):
    """Draws each sample from one of several streams, chosen at random by weight; Stateful.

    A stream that ends begins anew, and an epoch ends when every stream has ended once, so all samples are seen. Where
    a worker has no share of a stream, it draws from the others.
    """

    def __init__(self, streams: Mapping[str, Any], weights: Mapping[str, float]) -> None:
        """Mix streams by name.

        Raises:
            ConfigError: these are no mappings of the same names, or a weight is not above 0.
        """
        if not isinstance(streams, Mapping) or not isinstance(weights, Mapping) or {*streams} != {*weights}:
            raise ConfigError(
                "Mixed takes streams by name, and a weight for each: Mixed({'a': one, 'b': two}, {'a': 0.7, 'b': 0.3})"
            )
        if low := [name for name, weight in weights.items() if weight <= 0]:
            raise ConfigError(f"the weight of {low[0]} is {weights[low[0]]}; use a number above 0")
        self._streams, self._weights = dict(streams), dict(weights)
        self._passes = dict.fromkeys(streams, 0)
        self._given = dict.fromkeys(streams, 0)
        """Samples of each stream in its present pass."""
        self._ended: list[str] = []
        """The streams that have ended in this epoch."""
        self._empty: list[str] = []
        """Those without a sample here."""
        self._amid: dict[str, bytes] = {}
        """The states of streams that continue."""

    def __iter__(self) -> Iterator[Any]:
        """Return an iterator from the restored position, else from the beginning."""
        samples = {name: self._opened(name) for name in self._streams if name not in self._empty}
        while len(self._ended) < len(self._streams):
            weights = torch.tensor([float(self._weights[name]) for name in samples])
            name = list(samples)[int(torch.multinomial(weights, 1))]
            try:
                sample = next(samples[name])
            except StopIteration:
                self._end_pass(samples, name)
                continue
            self._given[name] += 1
            yield sample
        self._ended, self._empty = [], []
        self._amid = {name: frozen(self._streams[name].state_dict()) for name in samples if self._given[name]}

    def _opened(self, name: str) -> Iterator[Any]:
        """Return the samples of a stream, from where it stands in its pass."""
        if name in self._amid:
            self._streams[name].load_state_dict(thawed(self._amid.pop(name)))
        tell_epoch(self._streams[name], self._passes[name])
        return iter(self._streams[name])

    def _end_pass(self, samples: dict[str, Iterator[Any]], name: str) -> None:
        self._empty += [] if self._given[name] else [name]
        self._ended += [name] if name not in self._ended else []
        self._passes[name], self._given[name] = self._passes[name] + 1, 0
        if name in self._empty:
            del samples[name]
        elif len(self._ended) < len(self._streams):
            samples[name] = self._opened(name)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of each stream, and how far its pass and the epoch are."""
        streams = {name: stream.state_dict() for name, stream in self._streams.items()}
        streams |= {name: thawed(state) for name, state in self._amid.items()}
        counts = {"passes": {**self._passes}, "given": {**self._given}}
        return {"streams": streams, **counts, "ended": [*self._ended], "empty": [*self._empty]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore the state of each stream."""
        for name, stream in self._streams.items():
            stream.load_state_dict(state_dict["streams"][name])
        self._passes, self._given = dict(state_dict["passes"]), dict(state_dict["given"])
        self._ended, self._empty = list(state_dict["ended"]), list(state_dict["empty"])
        self._amid = {name: frozen(state_dict["streams"][name]) for name, given in self._given.items() if given}
