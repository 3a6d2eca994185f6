"""Watched loader workers: one that dies or hangs ends the run with one sentence, when its state can be saved."""

import atexit
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from types import FrameType
from typing import Any, NoReturn

from torch.utils.data import DataLoader

from runner.errors import WorkerFailed

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
_TORCH_SAYS = "DataLoader "  # prefix of the loader's own errors, not of a data set's


def ignore_signals(worker: int) -> None:
    """Ignore signals to the process group; the training process handles them, and needs the workers until it ends."""
    for number in _numbers():
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _numbers())


def _numbers() -> set[int]:
    return {getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)}


@contextmanager
def _held_back() -> Iterator[None]:
    """Block signals here and in workers forked meanwhile: SIGTERM would kill a worker that does not ignore it yet."""
    former = signal.pthread_sigmask(signal.SIG_BLOCK, _numbers())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


class Watched:
    """Iterates a loader with workers, and kills them at exit, where Python would wait for them."""

    def __init__(self, loader: "DataLoader[Any]") -> None:
        self._loader = loader
        self._workers: set[Any] = set()

    def __iter__(self) -> Iterator[Any]:
        """Start the workers unless they run, and return an iterator over the batches."""
        before = set(multiprocessing.active_children())
        with _held_back():
            batches = iter(self._loader)
        if started := set(multiprocessing.active_children()) - before:
            self._workers |= started
            atexit.register(_kill, started, os.getpid())
        return self._deliver(batches)

    def _deliver(self, batches: Iterator[Any]) -> Iterator[Any]:
        """Yield the batches.

        Raises:
            WorkerFailed: a worker died, or no batch came within the timeout.
        """
        patient = _patient_handler()
        while True:
            try:
                with patient.listening(), _alarm(self._loader.timeout):
                    batch = next(batches)
            except StopIteration:
                return
            except Exception as error:
                failure = self._failure(error)
                if failure is None:
                    raise
                _kill(self._workers, os.getpid())
                raise failure from error
            yield batch

    def _failure(self, error: Exception) -> WorkerFailed | None:
        """Return why the workers failed, None if the error comes from the data set."""
        if isinstance(error, _TooLate) or str(error).startswith(f"{_TORCH_SAYS}timed out"):
            return WorkerFailed(
                f"the data workers have delivered nothing for {self._loader.timeout:g} seconds: one is stuck, perhaps "
                "in a file system or a lock; fix that, or wait longer with data.timeout=... (0 waits forever)"
            )
        wait([worker.sentinel for worker in self._workers], timeout=1)  # a broken connection shows before the death
        dead = [worker for worker in self._workers if worker.exitcode]
        broken = isinstance(error, (ConnectionError, EOFError)) and not str(error).startswith("Caught ")
        if not dead and not broken and not str(error).startswith(_TORCH_SAYS):
            return None
        how = (
            f"it was process {dead[0].pid}, {_death(dead[0].exitcode)}"
            if dead
            else str(error).split(". ")[0] or "its connection broke"
        )
        return WorkerFailed(
            f"a data worker died ({how}); if memory ran out, use fewer data.workers or a smaller batch_size; "
            "data.workers=0 shows an error of the data set"
        )


class _Patient:
    """A handler of SIGCHLD that calls torch's, which may raise, only while waiting for a batch.

    During a step the error would leave a torn state, during a save half a file.
    """

    def __init__(self, inner: Callable[[int, FrameType | None], object]) -> None:
        self._inner = inner
        self._waiting = self._missed = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Check the workers now, or at the next wait."""
        if self._waiting:
            self._inner(number, frame)
        else:
            self._missed = True

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Wait for a batch, after checking workers that died since the last wait."""
        self._waiting = True
        try:
            if self._missed:
                self._missed = False
                self._inner(signal.SIGCHLD, None)
            yield
        finally:
            self._waiting = False


def _patient_handler() -> _Patient:
    """Install and return this process's handler; in another thread, where torch has none, one that is never called."""
    current = signal.getsignal(signal.SIGCHLD)
    if isinstance(current, _Patient):
        return current
    if not callable(current) or threading.current_thread() is not threading.main_thread():
        return _Patient(lambda number, frame: None)
    patient = _Patient(current)
    signal.signal(signal.SIGCHLD, patient)
    return patient


def _kill(workers: Iterable[Any], parent: int) -> None:
    """Kill the workers, but only from their parent: forked children also run this at exit."""
    for worker in workers if os.getpid() == parent else ():
        worker.kill()  # only SIGKILL ends a stopped or stuck worker


def _death(exit_code: int) -> str:
    return f"killed by {signal.Signals(-exit_code).name}" if exit_code < 0 else f"which exited with {exit_code}"


class _TooLate(Exception):
    """The alarm went off."""


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise `_TooLate` in the body after this time; the loader's own timeout does not cover receiving a tensor."""
    if not seconds or threading.current_thread() is not threading.main_thread():
        yield
        return
    former = signal.signal(signal.SIGALRM, _too_late)
    timer = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, signal.SIG_DFL if former is None else former)


def _too_late(number: int, frame: FrameType | None) -> NoReturn:
    raise _TooLate
