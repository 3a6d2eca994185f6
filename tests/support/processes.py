"""Commands in processes of their own, as a user starts them."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support import REPOSITORY

RUN = (sys.executable, str(REPOSITORY / "run.py"))
"""What starts the program."""


def environment(**variables: str) -> dict[str, str]:
    """Return the variables of a process that finds this repository, with some of its own."""
    return {**os.environ, "PYTHONPATH": str(REPOSITORY), **variables}


def python(work: Path, *words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run Python with these words in a directory, to its end."""
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=work, env=environment(**variables), capture_output=True, text=True, timeout=180)


def run(work: Path, *words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run `run.py` with these words in a directory, to its end."""
    return python(work, RUN[1], *words, **variables)


def start(work: Path, *words: str, **variables: str) -> "subprocess.Popen[str]":
    """Start `run.py` with these words in a directory, as the leader of a process group."""
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*RUN, *words], cwd=work, env=environment(**variables), stdout=pipe, stderr=pipe, text=True,
        start_new_session=True,
    )  # fmt: skip


def finish(process: "subprocess.Popen[str]", seconds: float = 200) -> tuple[int, str]:
    """Wait for the end; return the exit code and all that was printed."""
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out + (err or "")


def until(reached: Callable[[], Any], process: "subprocess.Popen[str] | None" = None) -> Any:
    """Return what `reached` returns, once that is something, while the process goes on."""
    limit = time.monotonic() + 90
    while not (found := reached()):
        assert process is None or process.poll() is None, finish(process)
        assert time.monotonic() < limit
        time.sleep(0.02)
    return found
