"""How a stream is divided: into a shard for each worker of each process."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from torch.utils.data import get_worker_info
from torch.utils.data._utils import worker as workers  # torch has no public way to set what get_worker_info returns

from runner.data.loaders.delivery import Loading
from runner.data.loaders.seeding import mixed
from runner.data.loaders.shares import Share
from runner.errors import ConfigError


class Sharding(NamedTuple):
    """The shards of a stream that this process reads, one per worker, and their numbers among all."""

    share: Share = Share()
    here: int = 1
    """The number of shards of this process."""

    @classmethod
    def of(cls, loading: Loading) -> "Sharding":
        """Return a shard for each worker; one for a process without workers."""
        return cls(loading.share, max(1, loading.workers))

    def batch_size(self, of_all: int) -> int:
        """Return how many samples of a batch are from this process.

        Raises:
            ConfigError: a process has none.
        """
        if of_all < self.share.size:
            raise ConfigError(
                f"batch_size={of_all} gives no sample of a stream to one of {self.share.size} processes; use "
                f"batch_size={self.share.size} or more, or start fewer"
            )
        return self.share.of_count(of_all)

    def number(self) -> int:
        """Return the number of this worker's shard among those of all processes."""
        return self.share.rank * self.here + local_number()

    @contextmanager
    def shown(self, dataset: Any, seed: int) -> Iterator[None]:
        """Let `get_worker_info()` tell a stream its shard; of one process, torch does."""
        if self.share.size == 1:
            yield
            return
        torchs = workers._worker_info
        number, count = self.number(), self.share.size * self.here
        info = workers.WorkerInfo(id=number, num_workers=count, seed=mixed(seed) + number, dataset=dataset)
        workers._worker_info = info
        try:
            yield
        finally:
            workers._worker_info = torchs


def local_number() -> int:
    """Return the number of this worker in its process, 0 in the training process."""
    info = get_worker_info()
    return 0 if info is None else info.id
