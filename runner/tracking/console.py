"""The console: a bar on a terminal, sparse lines elsewhere; a closed output never stops a run."""

import logging
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

from runner.small_files import open_regular
from runner.text import printable_lines

_PAUSE = 10.0  # seconds between two lines without an evaluation
_LOSS = re.compile(r"train/.*loss")


class Console:
    """Shows progress: on a terminal a bar with loss, speed and time left, elsewhere a log line now and then."""

    def __init__(self, total_steps: int | None, *, first_step: int, stream: TextIO | None = None) -> None:
        stream = sys.stderr if stream is None else stream
        self._total = total_steps
        self._bar = _bar(total_steps, first_step, stream) if _is_terminal(stream) else None
        self._said_at = time.monotonic()

    def advance(self, step: int) -> None:
        """Move the bar, if there is one."""
        if self._bar is not None:
            self._drive(lambda bar: bar.update(step - bar.n))

    def log(self, step: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Show the losses beside the bar, and the metrics as a line after an evaluation or a pause."""
        if losses := {name: value for name, value in metrics.items() if _LOSS.fullmatch(name)}:
            self._drive(lambda bar: bar.set_postfix_str(_text(losses), refresh=False))
        evaluated = any(name.startswith("val/") for name in metrics)
        if evaluated or (self._bar is None and time.monotonic() - self._said_at >= _PAUSE):
            self._said_at = time.monotonic()
            total = "" if self._total is None else f"/{self._total}"
            logging.getLogger("runner").info("step %d%s  epoch %d  %s", step, total, epoch, _text(metrics))

    def flush(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Close the bar, and leave it as it is."""
        self._drive(lambda bar: bar.close())

    def _drive(self, act: Callable[[Any], object]) -> None:
        if self._bar is None:
            return
        try:
            act(self._bar)
        except (OSError, ValueError):  # the terminal was closed
            self._bar.disable = True
            self._bar = None


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and not stream.closed and stream.isatty()


def _bar(total: int | None, first: int, stream: TextIO) -> Any:
    from tqdm import tqdm

    return tqdm(total=total, initial=first, unit="step", file=stream, dynamic_ncols=True)


def _text(metrics: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in metrics.items() if name != "seconds")


class ConsoleHandler(logging.StreamHandler[TextIO]):
    """Writes log lines to stdout, above a bar; stays silent once stdout is closed."""

    def __init__(self) -> None:
        super().__init__(sys.stdout)
        self._silent = self.stream is None  # a process started without stdout

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        if self._silent:
            return
        try:
            line = printable_lines(self.format(record))
        except Exception:
            self.handleError(record)
            return
        self._attempt(lambda: self._write(line))

    def flush(self) -> None:
        """Flush, unless stdout is closed."""
        if not self._silent:
            self._attempt(super().flush)

    def _write(self, line: str) -> None:
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        line = line.encode(encoding, "backslashreplace").decode(encoding)
        if "tqdm" in sys.modules:
            sys.modules["tqdm"].tqdm.write(line, file=self.stream)
        else:
            self.stream.write(line + self.terminator)
        self.stream.flush()

    def _attempt(self, write: Callable[[], None]) -> None:
        try:
            write()
        except BrokenPipeError:
            self._silent = True
            with suppress(OSError, ValueError):
                _discard(self.stream)
        except (OSError, ValueError):
            self._silent = True


class LogFile(logging.FileHandler):
    """Writes log lines to a file; reports the first line that the disk refuses, and drops such lines."""

    def __init__(self, filename: str) -> None:
        super().__init__(filename, encoding="utf-8")
        self._told = False

    def _open(self) -> Any:
        return TextIOWrapper(open_regular(Path(self.baseFilename), os.O_WRONLY | os.O_APPEND | os.O_CREAT), "utf-8")

    def format(self, record: logging.LogRecord) -> str:
        """Return lines without control characters, safe to show on a terminal."""
        return printable_lines(super().format(record))

    def handleError(self, record: logging.LogRecord) -> None:
        """Report the first line that could not be written; a line that could not be formatted is a bug."""
        error = sys.exception()
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._told:
            self._told = True
            print(f"{self.baseFilename} lacks some lines: {error.strerror}", file=sys.stderr)


def _discard(stream: TextIO) -> None:
    """Redirect a broken stream to nowhere, or Python's flush at exit fails."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, stream.fileno())
    finally:
        os.close(nowhere)
