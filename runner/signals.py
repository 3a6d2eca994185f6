"""Signals request a stop, or a checkpoint, at the next boundary between steps.

A handler that raised inside `torch.save` would surface as a RuntimeError and leave half a file, so a handler only
sets a flag. https://docs.python.org/3/library/signal.html
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
_PR_SET_PDEATHSIG = 1  # from linux/prctl.h
_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_DURATION = re.compile("".join(rf"(?:(\d+(?:\.\d+)?){unit})?" for unit in _SECONDS), re.ASCII)


class Stop:
    """Listens inside its `with` block: keeps the first reason to stop; a second SIGINT kills; SIGUSR2 asks to save."""

    def __init__(self, max_seconds: float | None = None) -> None:
        self._reason: str | None = None
        self._save = False
        self._pid = os.getpid()
        self._deadline = math.inf if max_seconds is None else time.monotonic() + max_seconds
        self._former: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Install the handlers, in the main thread only; SIGHUP stays ignored under `nohup`."""
        if threading.current_thread() is threading.main_thread():
            numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name) and not _is_by_nohup(name)]
            self._former = {number: signal.signal(number, self._on_signal) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        """Restore the former handlers."""
        for number, former in self._former.items():
            signal.signal(number, signal.SIG_DFL if former is None else former)  # None: not installed by Python

    def requested(self) -> str | None:
        """Return why to stop: a signal's name or "max_time"; None to go on."""
        if self._reason is None and time.monotonic() >= self._deadline:
            self._reason = "max_time"
        return self._reason

    def request(self, reason: str) -> None:
        """Request a stop for a reason that another process of the run has."""
        self._reason = self._reason or reason

    def save_requested(self) -> bool:
        """Return whether SIGUSR2 arrived since the last call."""
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
            signal.signal(number, signal.SIG_DFL)  # the second one ends the process at once
        self._reason = self._reason or name


def _is_by_nohup(name: str) -> bool:
    return name == "SIGHUP" and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def kill_group(leader: int) -> None:
    """Kill a process group by SIGKILL."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def die_by_sigint() -> NoReturn:
    """End this process by SIGINT itself, so that a shell loop stops too."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):  # broken, closed, or None
            continue
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)
    raise SystemExit(130)


@contextmanager
def dying_by_sigint() -> Iterator[None]:
    """Let Ctrl-C kill this process inside the block; some libraries turn KeyboardInterrupt into another error."""
    former = signal.getsignal(signal.SIGINT)
    if former is signal.default_int_handler:  # not if `nohup` or a shell's `&` ignores it
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)


def parse_duration(text: str | int | float | None, key: str = "max_time") -> float | None:
    """Return the seconds of a number or a text such as "1h30m"; raise ConfigError, naming `key`, for anything else."""
    if text is None:
        return None
    seconds = _seconds(text)
    if not (math.isfinite(seconds) and seconds > 0):
        raise ConfigError(f"{key}={text} is invalid; use seconds, or a duration such as 90s or 1h30m")
    return seconds


def _seconds(text: str | int | float) -> float:
    """Return the seconds in `text`, NaN if it is not a duration."""
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
    """Let the kernel kill this process when its parent ends; Linux only.

    Give the parent's pid, if known, as `parent`: it may have ended already.
    """
    import ctypes

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def sigterm_kept() -> Iterator[None]:
    """Restore the SIGTERM handler after the block, which a library may have replaced."""
    former = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def ask_group_to_stop(leader: int) -> None:
    """Ask the leader of a process group to stop after its step."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(leader, signal.SIGTERM)


def pass_on_sigterm(leader: int) -> Callable[[], int]:
    """Forward SIGTERM to the leader of a process group; return a function that counts how often."""
    count = 0

    def pass_on(number: int, frame: FrameType | None) -> None:
        nonlocal count
        count += 1
        ask_group_to_stop(leader)

    signal.signal(signal.SIGTERM, pass_on)
    return lambda: count


@contextmanager
def deaf_children() -> Iterator[None]:
    """Block SIGINT and SIGHUP in processes started inside the block; this process receives them after it."""
    former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def signal_name(number: int) -> str:
    """Return a signal's name, such as SIGKILL."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
