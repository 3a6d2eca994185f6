"""What a person sees: a bar on a terminal, sparse lines elsewhere, and never a crash because nobody reads them."""

import logging
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

_PAUSE = 10.0  # seconds between two lines that hold no evaluation


class Console:
    """Shows progress: a bar with loss, speed and time left on a terminal, else a log line now and then."""

    def __init__(self, total_steps: int | None, *, first_step: int, stream: TextIO | None = None) -> None:
        stream = stream or sys.stderr
        self._total = total_steps
        self._bar = _bar(total_steps, first_step, stream) if stream.isatty() else None
        self._said_at = time.monotonic()

    def advance(self, step: int) -> None:
        """Move the bar, if there is one."""
        if self._bar is not None:
            self._bar.update(step - self._bar.n)

    def log(self, step: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Show the metrics: beside the bar, and as a line where they hold an evaluation or time has passed."""
        if self._bar is not None:
            self._bar.set_postfix_str(_text({k: v for k, v in metrics.items() if k == "train/loss"}))
        evaluated = any(name.startswith("val/") for name in metrics)
        if evaluated or (self._bar is None and time.monotonic() - self._said_at >= _PAUSE):
            self._said_at = time.monotonic()
            total = "" if self._total is None else f"/{self._total}"
            logging.getLogger("runner").info("step %d%s  epoch %d  %s", step, total, epoch, _text(metrics))

    def flush(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()


def _bar(total: int | None, first: int, stream: TextIO) -> Any:
    from tqdm import tqdm

    return tqdm(total=total, initial=first, unit="step", file=stream, dynamic_ncols=True)


def _text(metrics: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in metrics.items() if name != "seconds")


class ConsoleHandler(logging.StreamHandler[TextIO]):
    """Writes log lines to stdout, above a bar; falls silent for good once nobody reads them."""

    def __init__(self) -> None:
        super().__init__(sys.stdout)
        self._silent = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        if self._silent:
            return
        try:
            self._write(self.format(record))
        except (OSError, ValueError):
            self._silent = True

    def _write(self, line: str) -> None:
        if "tqdm" in sys.modules:
            sys.modules["tqdm"].tqdm.write(line, file=self.stream)
        else:
            self.stream.write(line + self.terminator)
        self.stream.flush()

    def flush(self) -> None:
        """Flush, unless nobody reads."""
        if not self._silent:
            try:
                super().flush()
            except (OSError, ValueError):
                self._silent = True
