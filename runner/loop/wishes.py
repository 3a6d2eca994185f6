"""What the processes of a run wish between two steps, the same in each of them."""

from collections.abc import Callable

from runner.signals import Stop
from runner.strategy.processes import Processes

_SAVE = "save"


class Wishes:
    """Collects the wishes of all processes: to stop, or to save.

    Of several processes a wish is known to all one call later, so that no step waits for it.
    """

    def __init__(self, processes: Processes, stop: Stop, asks_for_save: Callable[[], bool] = lambda: False) -> None:
        self._processes, self._stop, self._asks_for_save = processes, stop, asks_for_save
        self._stops = self._saves = False

    def stop(self) -> str | None:
        """Return why every process stops, None to go on; call it between two steps, or two batches."""
        if not self._stops:
            wish = self._stop.requested() or (_SAVE if self._asks_for_save() else None)
            agreed = self._processes.agree_soon(wish)
            if agreed == _SAVE:
                self._saves = True
            elif agreed is not None:
                self._stop.request(agreed)
                self._stops = True
        return self._stop.requested() if self._stops else None

    def save(self) -> bool:
        """Return whether a process has asked for a checkpoint since the last call."""
        wanted, self._saves = self._saves, False
        return wanted
