"""Exact loading of streams: each batch carries the state of its stream, and a checkpoint that of the consumed ones.

torch's loader sends requests to its workers in turn, and no worker ever ends, so the order of the batches does not
depend on which worker is faster.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from runner.data.loaders.batches import Batch, Shard, StreamPoint
from runner.data.loaders.delivery import Delivery, Loading
from runner.data.loaders.loading import sendable
from runner.data.streams.position import StreamPosition
from runner.data.streams.worker import Draw, Drawn, Open, Opened, Request, Streamed, Tried, Try, empty
from runner.errors import ConfigError
from runner.stateful import Stateful


class StreamLoader:
    """Delivers the batches of a stream forever, epoch after epoch."""

    size = None
    """The number of samples of an epoch is not known."""
    steps_per_epoch = None

    def __init__(self, dataset: Any, loading: Loading, *, seed: int, accumulate: int = 1) -> None:
        """Load a stream, each batch in `accumulate` micro-batches.

        Raises:
            ConfigError: the stream has no state.
        """
        if not isinstance(dataset, Stateful):
            raise ConfigError(
                f"{type(dataset).__name__} is iterable and has no state, so no resume could find its place; give it "
                "`state_dict()` and `load_state_dict(state)`, or make it map-style, with __len__ and __getitem__"
            )
        self.loading = loading
        self._streamed = Streamed(dataset, seed, loading.batch_size, collate=loading.collate, micro_batches=accumulate)

    @property
    def name(self) -> str:
        """The class of the stream."""
        return self._streamed.name

    def position(self) -> StreamPosition:
        """Return the position before the first batch."""
        return StreamPosition(StreamPoint((Shard(),) * _shards(self.loading)))

    def divided(self, accumulate: int) -> "StreamLoader":
        """Return this loader; the config refuses what would divide it."""
        return self

    def batches(self, position: StreamPosition, *, epoch: int, turn: int = 0) -> Iterator[Batch]:
        """Return an endless iterator from a position in an epoch on; each `turn` has other random numbers.

        Raises:
            ConfigError: an epoch of the stream is empty.
        """
        requests = _Requests(position.point, epoch, turn)
        return _batches(iter(Delivery(self._streamed, requests, self.loading)), requests, self._streamed.name)

    def tried(self, position: Any, *, epoch: int, turn: int = 0) -> Tried:
        """Return trial batches of the first shard from a position on, by a worker if there are workers.

        Raises:
            ConfigError: the stream raised an error, or gives no sample.
        """
        shards = position.point.shards
        going = next((shard for shard in shards if not shard.ended), shards[0])
        return _tried(self._streamed, self.loading, Open(epoch, turn, going))


class StreamEvaluation:
    """Delivers a finite stream from its beginning, per iteration."""

    def __init__(self, dataset: Any, loading: Loading) -> None:
        self.loading = loading
        self._streamed = Streamed(dataset, 0, loading.batch_size, collate=loading.collate)
        start = StreamPoint((Shard(self._streamed.state()),) * _shards(loading))
        self._requests = _Requests(start, epochs=1)
        self._delivery = Delivery(self._streamed, self._requests, loading, persistent=loading.workers > 0)

    def __iter__(self) -> Iterator[Batch]:
        """Return an iterator over all batches."""
        return _batches(iter(self._delivery), self._requests, self._streamed.name)

    def tried(self) -> Tried:
        """Return trial batches, as `StreamLoader.tried` does."""
        return _tried(self._streamed, self.loading, Open(0, 0, Shard()))


class _Requests:
    """The requests to the shards in turn: in each epoch all are opened, and then asked until all have ended."""

    def __init__(self, point: StreamPoint, epoch: int = 0, turn: int = 0, *, epochs: int | None = None) -> None:
        self._start, self._first, self._turn, self._epochs = point, epoch, turn, epochs
        self._draw = Draw(stateful=epochs is None)  # an evaluation begins anew and is never amid
        self.begin()

    def begin(self) -> None:
        self.epoch, self.point, self.over = self._first, self._start, False

    def end_epoch(self) -> None:
        """Go to the next epoch."""
        self.epoch, self.point = self.epoch + 1, StreamPoint((Shard(),) * len(self.point.shards))
        self.over = self._epochs is not None and self.epoch - self._first >= self._epochs

    def __iter__(self) -> Iterator[Request]:
        self.begin()
        count, sent = len(self.point.shards), 0
        while not self.over:
            epoch = self.epoch
            for _ in range(count):
                yield Open(epoch, self._turn, self.point.shards[sent % count])
                sent += 1
            while sent % count != self.point.turn:
                yield None
                sent += 1
            while epoch == self.epoch:
                yield self._draw
                sent += 1


def _batches(replies: Iterator[Any], requests: _Requests, name: str) -> Iterator[Batch]:
    """Yield the batches among the replies, each with the position after it, and tell `requests` when an epoch ends."""
    shards = list(requests.point.shards)
    opened = 0
    for reply in replies:
        if not isinstance(reply, (Opened, Drawn)):
            continue
        shards[reply.number] = reply.shard or shards[reply.number]
        ends = all(shard.ended for shard in shards)
        if isinstance(reply, Opened):
            opened += 1
            if ends and opened == len(shards):
                raise ConfigError(empty(name, requests.epoch))
            continue
        if ends:
            shards, opened = [Shard(shard.state) for shard in shards], 0
            requests.end_epoch()
        after = StreamPoint(tuple(shards), 0 if ends else (reply.number + 1) % len(shards))
        yield replace(reply.batch, ends_epoch=ends, after=after)


def _tried(streamed: Streamed, loading: Loading, opening: Open) -> Tried:
    """Return trial batches of a stream, by the first of its workers if there are workers."""
    requests = [Try(opening), *[None] * (_shards(loading) - 1)]
    with sendable():
        tried, *_ = Delivery(streamed, requests, loading).whole()
    assert isinstance(tried, Tried)
    return tried


def _shards(loading: Loading) -> int:
    return max(1, loading.workers)
