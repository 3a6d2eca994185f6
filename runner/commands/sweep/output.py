"""What a sweep says, for as long as anybody can hear it: its results do not depend on that."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


class _Lasting:
    """A stream that falls silent when it cannot be written: its reader or terminal is gone, or its disk is full."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text, or nothing."""
        try:
            self._stream.write(text)
        except OSError:
            self._fall_silent()
        return len(text)

    def flush(self) -> None:
        """Write what waits, or drop it."""
        try:
            self._stream.flush()
        except OSError:
            self._fall_silent()

    def _fall_silent(self) -> None:
        with suppress(OSError, ValueError), open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), self._stream.fileno())
            self._stream.flush()  # what waited

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def lasting_output() -> Iterator[None]:
    """Let what is printed meanwhile fail nobody."""
    former = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(_Lasting, former)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = former
