"""Delivery of whole batches by torch's loader, in this process or by watched workers."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from runner.data.loaders.collating import Collate
from runner.data.loaders.shares import Everyone, OneProcess, Share
from runner.data.loaders.workers import Watched, ignore_signals
from runner.errors import RunnerError

TIMEOUT = 300.0
"""Seconds to wait for a batch of the workers, unless data.timeout says otherwise."""


def as_it_is(batch: Any) -> Any:
    """Return the batch."""
    return batch


@dataclass(frozen=True)
class Loading:
    """How to make batches from any data set of a run."""

    batch_size: int
    workers: int = 0
    timeout: float = TIMEOUT
    collate: Collate | None = None
    """Makes a batch from a list of samples; None uses torch's `default_collate`."""
    pin: bool = False
    """Whether batches come in pinned memory."""
    everyone: Everyone = OneProcess()
    """The processes that share every batch."""
    finish: Callable[[Any], Any] = as_it_is
    """Changes each batch where it is made, such as its memory format."""

    @property
    def share(self) -> Share:
        """What this process takes of every batch."""
        return Share(self.everyone.rank, self.everyone.size)


class Delivery:
    """Delivers what a data set replies to each request, in the order of the requests."""

    def __init__(
        self, dataset: Dataset[Any], requests: Iterable[Any], loading: Loading, *, persistent: bool = False
    ) -> None:
        """Deliver by torch's loader, with a generator of its own so that it does not draw from the global one."""
        loader: DataLoader[Any] = DataLoader(
            _Carrying(dataset),
            batch_size=None,
            sampler=requests,
            num_workers=loading.workers,
            persistent_workers=persistent,
            timeout=loading.timeout if loading.workers else 0,
            worker_init_fn=ignore_signals,
            generator=torch.Generator(),
            collate_fn=loading.finish,
            pin_memory=loading.pin,
        )
        self._loader: Iterable[Any] = Watched(loader) if loading.workers else loader

    def __iter__(self) -> Iterator[Any]:
        """Return an iterator over the replies; it raises the RunnerErrors of the data set."""
        return _raised(iter(self._loader))

    def whole(self) -> list[Any]:
        """Return all replies, when the workers have ended."""
        return list(_raised(iter(list(self._loader))))


class _Carrying(Dataset[Any]):
    """Delivers a RunnerError in place of a batch: raised in a worker, it would arrive as the text of a traceback."""

    def __init__(self, keyed: Dataset[Any]) -> None:
        self._keyed = keyed

    def __getitem__(self, key: Any) -> Any:
        try:
            return self._keyed[key]
        except RunnerError as error:
            return error


def _raised(batches: Iterator[Any]) -> Iterator[Any]:
    for batch in batches:
        if isinstance(batch, RunnerError):
            raise batch
        yield batch
