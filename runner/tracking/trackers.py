"""The `Tracker` protocol, and several trackers as one."""

import logging
from collections.abc import Mapping, Sequence
from typing import Protocol


class Tracker(Protocol):
    """Receives the metrics of a run.

    The constructor must not open or write anything: it also runs in checks before the run has a directory.
    """

    def log(self, step: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Receive the metrics of one step; times are in seconds."""

    def flush(self) -> None:
        """Return once all logged metrics are on disk; another thread may call this while training logs."""

    def close(self) -> None:
        """Close whatever is open."""


class Trackers:
    """Passes every call to several trackers."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self._trackers = tuple(trackers)

    def log(self, step: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log to each tracker."""
        for tracker in self._trackers:
            tracker.log(step, epoch, metrics)

    def flush(self) -> None:
        """Flush each tracker."""
        for tracker in self._trackers:
            tracker.flush()

    def close(self) -> None:
        """Close each tracker, even if closing another fails."""
        for tracker in self._trackers:
            try:
                tracker.close()
            except Exception:
                logging.getLogger("runner").exception("closing %s failed", type(tracker).__name__)
