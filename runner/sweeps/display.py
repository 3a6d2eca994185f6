"""How jobs come along: a line a job on a terminal that is kept up to date, a line a start and an end elsewhere."""

import re
import sys
import time
from collections.abc import Sequence
from shutil import get_terminal_size
from typing import Any

from runner.exit_codes import FINISHED, INTERRUPTED
from runner.sweeps.schedule import Ended, Running
from runner.text import printable

_STEP = re.compile(r"step (\d+)(?:/(\d+))?  (.*)")


class Lines:
    """Says when a job starts and how it ended."""

    def __init__(self, total: int) -> None:
        self._total, self._ended = total, 0

    def began(self, running: Running) -> None:
        """Say it."""
        again = f", attempt {running.attempt}" if running.attempt > 1 else ""
        self._say(f"{running.job.name}: started{again}")

    def look(self, running: Sequence[Running]) -> None:
        """Say nothing."""

    def failed(self, ended: Ended) -> None:
        """Say it."""
        self._say(f"{ended.job.name}: FAILED: {ended.reason} after {ended.seconds:.1f} s, to be tried again")

    def ended(self, ended: Ended) -> None:
        """Say it."""
        self._ended += 1
        stopped = "pruned" if ended.given_up else "stopped, to be resumed"
        how = stopped if ended.code == INTERRUPTED else "done" if ended.code == FINISHED else f"FAILED: {ended.reason}"
        self._say(f"{ended.job.name}: {how} after {ended.seconds:.1f} s ({self._ended} of {self._total})")

    def _say(self, line: str) -> None:
        print(printable(line), flush=True)


class Live(Lines):
    """Keeps a line for each job at work below the others: its step, its metrics, the time that is left."""

    def __init__(self, total: int) -> None:
        super().__init__(total)
        self._shown, self._looked = 0, 0.0
        self._first: dict[str, tuple[int, float]] = {}

    def look(self, running: Sequence[Running]) -> None:
        """Draw the lines anew, at most twice a second."""
        if time.monotonic() - self._looked < 0.5:
            return
        self._looked = time.monotonic()
        self._clear()
        size = get_terminal_size()
        lines = [
            printable(self._line(one))[: size.columns - 1] for one in running[: size.lines - 2]
        ]  # none above them is reached
        if len(running) > len(lines):
            lines.append(f"  and {len(running) - len(lines)} more")
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        sys.stdout.flush()
        self._shown = len(lines)

    def _say(self, line: str) -> None:
        self._clear()
        super()._say(line)

    def _clear(self) -> None:
        sys.stdout.write("\x1b[1A\x1b[2K" * self._shown)
        self._shown = 0

    def _line(self, running: Running) -> str:
        steps = [line for line in running.job.said() if line.startswith("step ")]
        match = _STEP.search(steps[-1]) if steps else None
        seconds = time.monotonic() - running.began
        if match is None:
            return f"  {running.job.name}  {seconds:.0f} s"
        step, total = int(match[1]), match[2]
        first, since = self._first.setdefault(running.job.name, (step, time.monotonic()))
        left = ""
        if total and step > first:
            rest = (int(total) - step) * (time.monotonic() - since) / (step - first)
            left = f"  {rest:.0f} s left"
        return f"  {running.job.name}  step {step}{f'/{total}' if total else ''}  {match[3]}{left}"


def display(total: int) -> Any:
    """Return the display that suits where the output goes."""
    return (Live if sys.stdout.isatty() else Lines)(total)
