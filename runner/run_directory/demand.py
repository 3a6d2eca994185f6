"""A checkpoint on demand: SIGUSR2, or a file named `save` in the run directory, asks for one at the next boundary."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

_PAUSE = 1.0  # seconds between two looks, since some file systems are slow


class Demand:
    """A request from outside; removes the file once seen."""

    def __init__(self, run_directory: Path, signalled: Callable[[], bool]) -> None:
        self._file = run_directory / "save"
        self._signalled = signalled
        self._look_at = 0.0

    def due(self, minutes: float) -> bool:
        """Return whether a checkpoint was requested since the last call."""
        asked = self._signalled() or self._found()
        if asked:
            logging.getLogger("runner").info("checkpoint requested: saving")
        return asked

    def _found(self) -> bool:
        if time.monotonic() < self._look_at:
            return False
        self._look_at = time.monotonic() + _PAUSE
        try:
            self._file.unlink()
        except OSError:  # nearly always missing
            return False
        return True
