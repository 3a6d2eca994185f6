"""Progress of jobs: one live line per running job on a terminal, elsewhere one line per start and end."""

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
    """Prints when a job starts and how it ends."""

    def __init__(self, total: int) -> None:
        self._total, self._ended = total, 0

    def began(self, running: Running) -> None:
        """Print that the job started."""
        again = f", attempt {running.attempt}" if running.attempt > 1 else ""
        self._say(f"{running.job.name}: started{again}")

    def look(self, running: Sequence[Running]) -> None:
        """Print nothing."""

    def failed(self, ended: Ended) -> None:
        """Print why the attempt failed."""
        self._say(f"{ended.job.name}: FAILED: {ended.reason} after {ended.seconds:.1f} s; retrying")

    def ended(self, ended: Ended) -> None:
        """Print how the job ended, and how many have."""
        self._ended += 1
        stopped = "pruned" if ended.given_up else "stopped, to be resumed"
        how = stopped if ended.code == INTERRUPTED else "done" if ended.code == FINISHED else f"FAILED: {ended.reason}"
        self._say(f"{ended.job.name}: {how} after {ended.seconds:.1f} s ({self._ended} of {self._total})")

    def _say(self, line: str) -> None:
        print(printable(line), flush=True)


class Live(Lines):
    """Keeps one line per running job at the bottom: its step, its metrics, the time left."""

    def __init__(self, total: int) -> None:
        super().__init__(total)
        self._shown, self._looked = 0, 0.0
        self._first: dict[str, tuple[int, float]] = {}

    def look(self, running: Sequence[Running]) -> None:
        """Redraw the lines, at most twice a second."""
        if time.monotonic() - self._looked < 0.5:
            return
        self._looked = time.monotonic()
        self._clear()
        size = get_terminal_size()
        lines = [
            printable(self._line(one))[: size.columns - 1] for one in running[: size.lines - 2]
        ]  # the cursor reaches no line above the screen
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
    """Return a live display on a terminal, else a plain one."""
    return (Live if sys.stdout.isatty() else Lines)(total)
