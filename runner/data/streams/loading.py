"""Exact loading of streams: each batch carries the state of its stream, and a checkpoint that of the consumed ones.

torch's loader sends requests to its workers in turn, and no worker ever ends, so the order of the batches does not
depend on which worker is faster.
"""

from collections.abc import Iterator
from typing import Any

from runner.data.loaders.batches import Batch, Shard, StreamPoint
from runner.data.loaders.delivery import Delivery, Loading
from runner.data.loaders.loading import sendable
from runner.data.streams.epochs import Requests, batches_of
from runner.data.streams.joining import Joint, Opening
from runner.data.streams.position import StreamPosition
from runner.data.streams.sharding import Sharding
from runner.data.streams.worker import Begin, Open, Streamed, Tried, Try, empty
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
            ConfigError: the stream has no state, or a batch has no sample for a process.
        """
        if not isinstance(dataset, Stateful):
            raise ConfigError(
                f"{type(dataset).__name__} is iterable and has no state, so no resume could find its place; give it "
                "`state_dict()` and `load_state_dict(state)`, or make it map-style, with __len__ and __getitem__"
            )
        self.loading = loading
        self._streamed = _streamed(dataset, seed, loading, accumulate)
        self._opening: Opening | None = None

    @property
    def name(self) -> str:
        """The class of the stream."""
        return self._streamed.name

    def position(self) -> StreamPosition:
        """Return the position before the first batch."""
        return StreamPosition(StreamPoint((Shard(),) * _shards(self.loading)), processes=self.loading.share.size)

    def divided(self, accumulate: int) -> "StreamLoader":
        """Return this loader; the config refuses what would divide it."""
        return self

    def batches(self, position: StreamPosition, *, epoch: int, turn: int = 0) -> Iterator[Batch]:
        """Return an endless iterator from a position in an epoch on; each `turn` has other random numbers.

        Raises:
            ConfigError: an epoch of the stream is empty.
        """
        joint, requests = self._opened().joint, Requests(position.point, epoch, turn)
        return batches_of(iter(Delivery(self._streamed, requests, self.loading)), requests, joint, self.name)

    def tried(self, position: Any, *, epoch: int, turn: int = 0) -> Tried:
        """Return trial batches of this process's first shard that has not ended, from a position on.

        Raises:
            ConfigError: the stream raised an error, or gives no sample.
        """
        joint, shards = self._opened().joint, position.point.shards
        number = next((number for number, shard in enumerate(shards) if not shard.ended), 0)
        own = _reply(self._streamed, self.loading, Try(Open(epoch, turn, shards[number])), number)
        return _joined(own, joint, self.name, epoch)

    def notices(self) -> list[str]:
        """Return what is doubtful about the division of the stream."""
        return self._opened().notices(self.name)

    def _opened(self) -> Opening:
        """Return how the stream begins; several processes read its first batch."""
        if self._opening is None:
            first = None
            if self.loading.share.size > 1:
                first = _reply(self._streamed, self.loading, Begin())
            self._opening = Opening(self.loading.everyone, first and first.first)
        return self._opening


class StreamEvaluation:
    """Delivers a finite stream from its beginning, per iteration."""

    def __init__(self, dataset: Any, loading: Loading) -> None:
        self.loading = loading
        self._streamed, self._joint = _streamed(dataset, 0, loading), Joint(loading.everyone)
        start = StreamPoint((Shard(self._streamed.state()),) * _shards(loading))
        self._requests = Requests(start, epochs=1)
        self._delivery = Delivery(self._streamed, self._requests, loading, persistent=loading.workers > 0)

    def __iter__(self) -> Iterator[Batch]:
        """Return an iterator over all batches."""
        return batches_of(iter(self._delivery), self._requests, self._joint, self._streamed.name)

    def tried(self) -> Tried:
        """Return trial batches, as `StreamLoader.tried` does."""
        own = _reply(self._streamed, self.loading, Try(Open(0, 0, Shard())))
        return _joined(own, self._joint, self._streamed.name, 0)


def _streamed(dataset: Any, seed: int, loading: Loading, micro_batches: int = 1) -> Streamed:
    sharding = Sharding.of(loading)
    size = sharding.batch_size(loading.batch_size)
    return Streamed(dataset, seed, size, collate=loading.collate, micro_batches=micro_batches, sharding=sharding)


def _reply(streamed: Streamed, loading: Loading, request: Try | Begin, number: int = 0) -> Tried | None:
    """Return the reply of one of this process's workers, or of the process itself if it has none."""
    requests: list[Any] = [None] * _shards(loading)
    requests[number] = request
    with sendable():
        found: Tried | None = Delivery(streamed, requests, loading).whole()[number]
    return found


def _joined(own: Tried | None, joint: Joint, name: str, epoch: int) -> Tried:
    """Return a trial whose first batch is that of all processes; ConfigError if none has a sample."""
    first = joint.step(own and own.first, more=True)
    if first is None:
        raise ConfigError(empty(name, epoch))
    return Tried(first) if own is None else own._replace(first=first)


def _shards(loading: Loading) -> int:
    return Sharding.of(loading).here
