"""What a tracker is, and several as one."""

import logging
from collections.abc import Mapping, Sequence
from typing import Protocol


class Tracker(Protocol):
    """Takes the numbers of a run as they arise.

    Its constructor opens and writes nothing, for it is also called to find mistakes before the run has a directory.
    """

    def log(self, step: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Take the metrics of one step; times are in seconds."""

    def flush(self) -> None:
        """Return when what was logged is on the disk; may be called by another thread while training logs."""

    def close(self) -> None:
        """Release whatever is open."""


class Trackers:
    """Hands everything to each of several trackers."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self._trackers = tuple(trackers)

    def log(self, step: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log to each."""
        for tracker in self._trackers:
            tracker.log(step, epoch, metrics)

    def flush(self) -> None:
        """Flush each."""
        for tracker in self._trackers:
            tracker.flush()

    def close(self) -> None:
        """Close each, also when another one's closing fails."""
        for tracker in self._trackers:
            try:
                tracker.close()
            except Exception:
                logging.getLogger("runner").exception("closing %s failed", type(tracker).__name__)
