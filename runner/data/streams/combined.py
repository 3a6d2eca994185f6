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

    An epoch ends with the first stream that ends, so that the weights hold throughout; then the others begin anew.
    """

    def __init__(self, streams: Mapping[str, Any], weights: Mapping[str, float]) -> None:
        """Mix streams by name.

        Raises:
            ConfigError: a weight is missing or not above 0.
        """
        if {*streams} != {*weights} or any(weight <= 0 for weight in weights.values()):
            raise ConfigError(f"the weights {dict(weights)} do not fit; give each of {', '.join(streams)} one above 0")
        self._streams = dict(streams)
        self._weights = torch.tensor([float(weights[name]) for name in streams])
        self._begun: bytes | None = None

    def __iter__(self) -> Iterator[Any]:
        """Return an iterator from the restored position, else from the beginning."""
        self._begun = self._begun or frozen(self._states())
        samples = {name: iter(stream) for name, stream in self._streams.items()}
        ended = None
        while ended is None:
            name = list(samples)[int(torch.multinomial(self._weights, 1))]
            try:
                sample = next(samples[name])
            except StopIteration:
                ended = name
            else:
                yield sample
        for name, state in thawed(self._begun).items():
            if name != ended:
                self._streams[name].load_state_dict(state)
        self._begun = None

    def set_epoch(self, epoch: int) -> None:
        """Tell the streams the epoch, if they want to know."""
        for stream in self._streams.values():
            tell_epoch(stream, epoch)

    def _states(self) -> dict[str, Any]:
        return {name: stream.state_dict() for name, stream in self._streams.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return the state of each stream, now and at the beginning of the epoch."""
        return {"streams": self._states(), "begun": None if self._begun is None else thawed(self._begun)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore the state of each stream."""
        self._begun = None if state_dict["begun"] is None else frozen(state_dict["begun"])
        for name, stream in self._streams.items():
            stream.load_state_dict(state_dict["streams"][name])
