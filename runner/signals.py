"""Signals ask for a stop at the next boundary between steps; nothing else is done when one arrives.

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
from types import FrameType
from typing import Any, NoReturn, Self

from runner.errors import ConfigError

_NAMES = ("SIGINT", "SIGTERM", "SIGUSR1")
_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


class Stop:
    """Listens for a stop while it is entered; the first reason stays."""

    def __init__(self, max_seconds: float | None = None) -> None:
        self._reason: str | None = None
        self._pid = os.getpid()
        self._deadline = math.inf if max_seconds is None else time.monotonic() + max_seconds
        self._former: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Install the handlers, where that is possible: in the main thread."""
        if threading.current_thread() is threading.main_thread():
            numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
            self._former = {number: signal.signal(number, self._on_signal) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        """Put the former handlers back."""
        for number, former in self._former.items():
            signal.signal(number, former)

    def requested(self) -> str | None:
        """Return why to stop: a signal's name or "max_time"; None to go on."""
        if self._reason is None and time.monotonic() >= self._deadline:
            self._reason = "max_time"
        return self._reason

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:
            return  # a forked worker
        name = signal.Signals(number).name
        if name == "SIGINT" and self._reason == "SIGINT":
            _die()
        self._reason = self._reason or name


def die_by_sigint() -> NoReturn:
    """End this process by SIGINT itself, so that a shell's loop stops as well."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
    _die()


def _die() -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)
    raise SystemExit(130)


def parse_duration(text: str | int | float | None) -> float | None:
    """Return seconds from a number or a text such as "1h30m"; ConfigError for anything else."""
    if text is None:
        return None
    seconds = 0.0
    if isinstance(text, str) and re.fullmatch(r"(\d+(\.\d+)?[dhms])+", text):
        seconds = sum(float(count) * _SECONDS[unit] for count, _, unit in re.findall(r"(\d+(\.\d+)?)([dhms])", text))
    elif isinstance(text, (int, float)) and not isinstance(text, bool):
        seconds = float(text)
    if not (math.isfinite(seconds) and seconds > 0):
        raise ConfigError(f"max_time={text} cannot be: give seconds, or a duration such as 90s or 1h30m")
    return seconds
