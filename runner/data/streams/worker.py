"""A stream in one worker: samples under seeded generators, and the stream's state after each batch."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from typing import Any, NamedTuple

from torch.utils.data import Dataset, IterableDataset, get_worker_info

from runner.blame import raised
from runner.data.loaders.batches import Batch, Shard
from runner.data.loaders.collating import Collate, collated
from runner.data.loaders.seeding import borrowed_generators, seed_generators
from runner.data.streams.limited import Limited, tell_epoch
from runner.data.streams.sharding import Sharding, local_number
from runner.data.streams.states import frozen, thawed
from runner.errors import ConfigError, RunnerError
from runner.stateful import Stateful

_END = object()


def is_stream(dataset: Any) -> bool:
    """Return whether a data set is iterable, and not map-style."""
    return isinstance(dataset, IterableDataset) or (
        hasattr(dataset, "__iter__") and not hasattr(dataset, "__getitem__")
    )


class Open(NamedTuple):
    """Asks a worker to go to a position of an epoch; the reply is `Opened`."""

    epoch: int
    turn: int
    shard: Shard


class Try(NamedTuple):
    """Asks for the batches of a trial; the reply is `Tried`, or None if there is no sample."""

    opening: Open


class Begin(NamedTuple):
    """Asks for the first batch of the stream as it was built, seeded alike in every shard; the reply is `Tried`."""


class Draw(NamedTuple):
    """Asks a worker for its next batch; the reply is `Drawn`, or None at the end of its share."""

    stateful: bool = True
    """Whether the reply has the stream's state after the batch."""


Request = Open | Draw | Try | Begin | None
"""None asks for nothing: it is another worker's turn."""


class Opened(NamedTuple):
    """The reply to `Open`: the position of a worker's share that is at its end, None if a sample follows."""

    number: int
    shard: Shard | None


class Drawn(NamedTuple):
    """A batch of a worker's share, and the position after it."""

    number: int
    shard: Shard
    batch: Batch


class Tried(NamedTuple):
    """The batches of a trial: the first, the second, and the second again from the state after the first."""

    first: Batch
    second: Batch | None = None
    again: Batch | None = None


class Streamed(Dataset[Any]):
    """Delivers the batches of one worker's share of a stream, one request after the other.

    One sample is drawn ahead, so that the last batch is known to be the last. For each batch, the global generators
    are seeded with (seed, turn, epoch, shard, number of its first sample).
    """

    def __init__(
        self,
        dataset: Any,
        seed: int,
        batch_size: int,
        *,
        collate: Collate | None = None,
        micro_batches: int = 1,
        sharding: Sharding = Sharding(),  # noqa: B008
    ) -> None:
        """Deliver `batch_size` samples at a time, in up to `micro_batches` parts."""
        self.dataset, self._seed, self._batch_size = dataset, seed, batch_size
        self._collate, self._micro_batches, self._sharding = collate, micro_batches, sharding
        self._samples: Iterator[Any] = iter(())
        self._ahead: Any = _END
        self._opening = Open(0, 0, Shard())
        self._count = 0
        self._alike = False
        """Whether every shard has the same seeds."""

    @property
    def name(self) -> str:
        """The class of the stream."""
        dataset = self.dataset.stream if isinstance(self.dataset, Limited) else self.dataset
        return type(dataset).__name__

    def __getitem__(self, request: Request) -> Opened | Drawn | Tried | None:
        """Return the reply to a request."""
        if request is None:
            return None
        with nullcontext() if get_worker_info() else borrowed_generators():
            match request:
                case Begin():
                    return self._begun()
                case Try(opening):
                    return self._tried(opening)
                case Open():
                    return self._open(request)
                case Draw(stateful):
                    return self._draw(stateful)

    def _open(self, opening: Open) -> Opened:
        shard = opening.shard
        self._opening, self._count = opening, shard.samples
        self._samples = iter(())  # ends a former iteration before the state changes
        self._seed_generators(0)
        with self._shown():
            if shard.state is not None:
                self.dataset.load_state_dict(thawed(shard.state))
            tell_epoch(self.dataset, opening.epoch)
            self._samples = iter(()) if shard.ended else iter(self.dataset)
            self._ahead = next(self._samples, _END)
        ended = self._ahead is _END
        return Opened(local_number(), Shard(self.state(), shard.samples, ended=True) if ended else None)

    def _draw(self, stateful: bool = True) -> Drawn | None:
        if self._ahead is _END:
            return None
        self._seed_generators(1)
        with self._shown():
            samples = [self._ahead, *islice(self._samples, self._batch_size - 1)]
        batch, state = self._batch(samples), self.state() if stateful else None
        self._count += len(samples)
        self._seed_generators(0)
        with self._shown():
            self._ahead = next(self._samples, _END)
        ended = self._ahead is _END
        state = self.state() if ended and stateful else state
        return Drawn(local_number(), Shard(state, self._count, ended), batch)

    def _batch(self, samples: list[Any]) -> Batch:
        size = -(-len(samples) // self._micro_batches)
        pieces = {at: samples[at : at + size] for at in range(0, len(samples), size)}
        parts = [
            collated(piece, range(self._count + at, self._count + at + len(piece)), own=self._collate, name=self.name)
            for at, piece in pieces.items()
        ]
        return Batch(tuple(parts), tuple(map(len, pieces.values())))

    def _seed_generators(self, use: int) -> None:
        number = 0 if self._alike else self._sharding.number()
        seed_generators(self._seed, self._opening.turn, self._opening.epoch, number, self._count, use)

    def state(self) -> bytes | None:
        """Return the stream's state, as it is now; None if it has none."""
        with self._shown():
            return frozen(self.dataset.state_dict()) if isinstance(self.dataset, Stateful) else None

    def _shown(self) -> AbstractContextManager[None]:
        """Return a context in which the stream learns of its shard."""
        return self._sharding.shown(self.dataset, self._seed)

    def _begun(self) -> Tried | None:
        with self._undone():
            self._alike = True
            self._open(Open(0, 0, Shard()))
            first = self._draw()
            return first and Tried(first.batch)

    def _tried(self, opening: Open) -> Tried | None:
        """Return the first two batches, and the second again from the state after the first."""
        with self._undone():
            self._open(opening)
            if (first := self._draw()) is None:
                return None
            if first.shard.ended or first.shard.state is None:
                return Tried(first.batch)
            second = self._draw()
            self._open(opening._replace(shard=first.shard))
            again = self._draw()
            return Tried(first.batch, second and second.batch, again and again.batch)

    @contextmanager
    def _undone(self) -> Iterator[None]:
        """Restore the stream afterwards; raise ConfigError for an error that it raised."""
        before = self.state()
        try:
            with self._blamed():
                yield
        finally:
            self._samples, self._ahead, self._alike = iter(()), _END, False
            if before is not None:
                with self._blamed(), self._shown():
                    self.dataset.load_state_dict(thawed(before))

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        try:
            yield
        except RunnerError:
            raise
        except Exception as error:
            raise ConfigError(f"the stream {self.name} raised {raised(error)}") from error


def empty(name: str, epoch: int) -> str:
    """Return why an epoch without a sample is wrong."""
    return f"the stream {name} gives no sample in epoch {epoch}; let each `__iter__` begin anew after the end"
