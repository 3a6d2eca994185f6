"""Work that is done at once, or meanwhile by one thread, whose failures are never lost."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

Job = Callable[[], object]


class Worker(Protocol):
    """Does one job at a time."""

    def start(self, job: Job) -> None:
        """Begin a job once the former one is done; raise what that one raised."""

    def settle(self) -> None:
        """Return when nothing is left to do; raise what the latest job raised, once."""


class AtOnce:
    """Does the job before `start` returns."""

    def start(self, job: Job) -> None:
        """Do the job."""
        job()

    def settle(self) -> None:
        """Return."""


class Background:
    """Does the job in a thread; a process that ends in an orderly way waits for it."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[object] | None = None

    def start(self, job: Job) -> None:
        """Begin the job once the former one is done; raise what that one raised, and leave this one undone."""
        self.settle()
        self._pending = self._thread.submit(job)

    def settle(self) -> None:
        """Return when the job is done; raise what it raised, once."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()
