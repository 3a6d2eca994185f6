"""Loader workers under watch: one that dies or hangs ends the run with a sentence, at a moment when it can be saved."""

import atexit
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from torch.utils.data import DataLoader

from runner.errors import WorkerFailed

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
_TORCH_SAYS = "DataLoader "  # begins what the loader itself raises; what a data set raises begins otherwise


def ignore_signals(worker: int) -> None:
    """A signal to the process group is the training process's affair; its workers deliver until it is done."""
    for name in _SIGNALS:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


class Watched:
    """Iterates a loader that has workers; none of them outlives the process, which would wait for it at its end."""

    def __init__(self, loader: "DataLoader[Any]") -> None:
        self._loader = loader
        self._workers: set[Any] = set()

    def __iter__(self) -> Iterator[Any]:
        """Start the workers, where they are not running yet, and return an iterator over the batches."""
        before = set(multiprocessing.active_children())
        batches = iter(self._loader)
        if started := set(multiprocessing.active_children()) - before:
            self._workers |= started
            atexit.register(_kill, started, os.getpid())
        return self._deliver(batches)

    def _deliver(self, batches: Iterator[Any]) -> Iterator[Any]:
        """Yield the batches.

        Raises:
            WorkerFailed: a worker died, or nothing came for as long as the loader waits.
        """
        patient = _patient_handler()
        while True:
            try:
                with patient.listening():
                    batch = next(batches)
            except StopIteration:
                return
            except RuntimeError as error:
                if not str(error).startswith(_TORCH_SAYS):
                    raise
                _kill(self._workers, os.getpid())
                raise WorkerFailed(_sentence(error, self._loader.timeout)) from error
            yield batch


class _Patient:
    """A handler of SIGCHLD that lets torch's raise only while a batch is waited for.

    Amid a step the error would leave a torn state, which cannot be saved, and amid a save half a file.
    """

    def __init__(self, inner: Callable[[int, FrameType | None], object]) -> None:
        self._inner = inner
        self._waiting = self._missed = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Look at the workers now, or later."""
        if self._waiting:
            self._inner(number, frame)
        else:
            self._missed = True

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Wait for a batch; whatever became of a worker since the last time is told first."""
        self._waiting = True
        try:
            if self._missed:
                self._missed = False
                self._inner(signal.SIGCHLD, None)
            yield
        finally:
            self._waiting = False


def _patient_handler() -> _Patient:
    """Return this process's handler; where torch can have none, in another thread, one that is never called."""
    current = signal.getsignal(signal.SIGCHLD)
    if isinstance(current, _Patient):
        return current
    if not callable(current) or threading.current_thread() is not threading.main_thread():
        return _Patient(lambda number, frame: None)
    patient = _Patient(current)
    signal.signal(signal.SIGCHLD, patient)
    return patient


def _kill(workers: Iterable[Any], parent: int) -> None:
    """End the workers; called as well when a forked child of their parent exits, which they do not concern."""
    for worker in workers if os.getpid() == parent else ():
        worker.kill()  # nothing less ends one that is stopped or stuck


def _sentence(error: RuntimeError, timeout: float) -> str:
    if "timed out" in str(error):
        return (
            f"the data workers have delivered nothing for {timeout:g} seconds: one is stuck, in a file system or a "
            "lock perhaps; mend that, or wait longer with data.timeout=... (0 waits for ever)"
        )
    cause = error.__cause__ if isinstance(error.__cause__, RuntimeError) else error
    return (
        f"a data worker died ({str(cause).split('. ')[0].strip(' .')}); if memory ran out, take fewer data.workers or "
        "a smaller batch_size, and data.workers=0 shows an error of the data set itself"
    )
