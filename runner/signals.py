"""Signals ask for a stop, or a checkpoint, at the next boundary between steps; nothing else is done on arrival.

An exception raised by a handler in the midst of `torch.save` would arrive as a RuntimeError and
leave half a file, so the handler only sets a flag. https://docs.python.org/3/library/signal.html
"""

import math
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn, Self

from runner.errors import ConfigError

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
_PR_SET_PDEATHSIG = 1  # of linux/prctl.h
_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_DURATION = re.compile("".join(rf"(?:(\d+(?:\.\d+)?){unit})?" for unit in _SECONDS), re.ASCII)


class Stop:
    """Listens while it is entered; the first reason to stop stays, the second SIGINT kills, SIGUSR2 wants a save."""

    def __init__(self, max_seconds: float | None = None) -> None:
        self._reason: str | None = None
        self._save = False
        self._pid = os.getpid()
        self._deadline = math.inf if max_seconds is None else time.monotonic() + max_seconds
        self._former: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Install the handlers, where that is possible: in the main thread; `nohup` keeps its promise."""
        if threading.current_thread() is threading.main_thread():
            numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name) and not _is_by_nohup(name)]
            self._former = {number: signal.signal(number, self._on_signal) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        """Put the former handlers back."""
        for number, former in self._former.items():
            signal.signal(number, signal.SIG_DFL if former is None else former)  # None: not of Python's making

    def requested(self) -> str | None:
        """Return why to stop: a signal's name or "max_time"; None to go on."""
        if self._reason is None and time.monotonic() >= self._deadline:
            self._reason = "max_time"
        return self._reason

    def save_requested(self) -> bool:
        """Return whether SIGUSR2 has asked for a checkpoint since the last time."""
        wanted, self._save = self._save, False
        return wanted

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:
            return  # a forked worker
        name = signal.Signals(number).name
        if name == "SIGUSR2":
            self._save = True
            return
        if name == "SIGINT":
            signal.signal(number, signal.SIG_DFL)  # the second one leaves at once, whatever is running then
        self._reason = self._reason or name


def _is_by_nohup(name: str) -> bool:
    return name == "SIGHUP" and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def kill_group(leader: int) -> None:
    """End a process that leads a group of its own, and every process in it, at once and without a chance to react."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def die_by_sigint() -> NoReturn:
    """End this process by SIGINT itself, so that a shell's loop stops as well."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):  # broken, closed, or never there
            continue
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)
    raise SystemExit(130)


@contextmanager
def dying_by_sigint() -> Iterator[None]:
    """Let Ctrl-C end this process wherever it is, since nothing is made; some libraries make another error of it."""
    former = signal.getsignal(signal.SIGINT)
    if former is signal.default_int_handler:  # not where `nohup`, or a shell's `&`, has it ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)


def parse_duration(text: str | int | float | None, key: str = "max_time") -> float | None:
    """Return seconds from a number or a text such as "1h30m"; ConfigError, which names the key, for anything else."""
    if text is None:
        return None
    seconds = _seconds(text)
    if not (math.isfinite(seconds) and seconds > 0):
        raise ConfigError(f"{key}={text} cannot be: give seconds, or a duration such as 90s or 1h30m")
    return seconds


def _seconds(text: str | int | float) -> float:
    """Return the seconds that `text` stands for, NaN if it stands for none."""
    if isinstance(text, str) and (match := _DURATION.fullmatch(text)):
        counts = zip(match.groups(default="0"), _SECONDS.values(), strict=True)
        return sum(float(count) * unit for count, unit in counts)
    if isinstance(text, bool):
        return math.nan
    try:
        return float(text)
    except (ValueError, TypeError, OverflowError):
        return math.nan


def die_with_parent(parent: int | None = None) -> None:
    """Let the kernel kill this process when the one that started it ends, however that happens; Linux only.

    Who knows the number of the one that started it gives it as `parent`: it may have ended already.
    """
    import ctypes

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def sigterm_kept() -> Iterator[None]:
    """Let SIGTERM do in the end what it did before, whatever a library makes of it meanwhile."""
    former = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def ask_group_to_stop(leader: int) -> None:
    """Ask a process that leads a group of its own to stop after its step."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(leader, signal.SIGTERM)


def pass_on_sigterm(leader: int) -> Callable[[], int]:
    """Let SIGTERM, from now on, ask a process that leads a group of its own to stop; return what counts how often."""
    count = 0

    def pass_on(number: int, frame: FrameType | None) -> None:
        nonlocal count
        count += 1
        ask_group_to_stop(leader)

    signal.signal(signal.SIGTERM, pass_on)
    return lambda: count


@contextmanager
def deaf_children() -> Iterator[None]:
    """Let processes that are started meanwhile not hear a terminal's Ctrl-C or hangup; this one hears it afterwards."""
    former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def signal_name(number: int) -> str:
    """Return what a signal is called, such as SIGKILL."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
