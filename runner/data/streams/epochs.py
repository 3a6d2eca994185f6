"""The epochs of a stream: which requests the shards get, and which steps their replies make."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from runner.data.loaders.batches import Batch, Shard, StreamPoint
from runner.data.streams.joining import Joint
from runner.data.streams.worker import Draw, Drawn, Open, Opened, Request, empty
from runner.errors import ConfigError


class Requests:
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


def batches_of(replies: Iterator[Any], requests: Requests, joint: Joint, name: str) -> Iterator[Batch]:
    """Yield this process's part of each step, with the position after it, and tell `requests` when an epoch ends."""
    own = _Own(replies, requests)
    while True:
        mine = own.batch()
        batch = joint.step(mine, more=not own.ended)
        if batch is None:
            raise ConfigError(empty(name, requests.epoch))
        if batch.ends_epoch:
            own.end_epoch()
        yield replace(batch, after=own.point())
        if requests.over:
            break
    for _ in replies:  # of the requests that were sent ahead
        pass


class _Own:
    """This process's batches, epoch after epoch, and its position after each."""

    def __init__(self, replies: Iterator[Any], requests: Requests) -> None:
        self._replies, self._requests = replies, requests
        self._shards, self._opened, self._turn = list(requests.point.shards), 0, requests.point.turn

    @property
    def ended(self) -> bool:
        """Whether no shard has a further sample in this epoch."""
        return self._opened == len(self._shards) and all(shard.ended for shard in self._shards)

    def batch(self) -> Batch | None:
        """Return the next batch of the epoch, None if all shards have ended."""
        while not self.ended:
            reply = next(self._replies)
            if isinstance(reply, Opened):
                self._opened += 1
                self._shards[reply.number] = reply.shard or self._shards[reply.number]
            elif isinstance(reply, Drawn):
                self._shards[reply.number] = reply.shard
                self._turn = (reply.number + 1) % len(self._shards)
                return reply.batch
        return None

    def end_epoch(self) -> None:
        """Go to the next epoch, of all processes."""
        self._shards, self._opened, self._turn = [Shard(shard.state) for shard in self._shards], 0, 0
        self._requests.end_epoch()

    def point(self) -> StreamPoint:
        """Return the position now."""
        return StreamPoint(tuple(self._shards), self._turn)
