"""Do work at once, or in a background thread that never loses a failure."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

Work = Callable[[], object]


class Worker(Protocol):
    """Does one piece of work at a time."""

    def start(self, work: Work) -> None:
        """Start the work once the former is done; raise what that raised."""

    def settle(self) -> None:
        """Return once no work is left; raise what the latest work raised, once."""


class AtOnce:
    """Does the work before `start` returns."""

    def start(self, work: Work) -> None:
        """Do the work."""
        work()

    def settle(self) -> None:
        """Return."""


class Background:
    """Does the work in a thread; a process that exits normally waits for it."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[object] | None = None

    def start(self, work: Work) -> None:
        """Start the work once the former is done; if that raised, raise it and do not start."""
        self.settle()
        self._pending = self._thread.submit(work)

    def settle(self) -> None:
        """Return once the work is done; raise what it raised, once."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()
