"""The actor beside a job on its Ray node, which starts the job and signals it."""

import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runner.signals import kill_group


@dataclass(frozen=True)
class Process:
    """A job's process, equal on every node; each node needs the same files."""

    entry: str
    """A module whose `main` runs the command line in its arguments."""
    path: Sequence[str]
    """The sweep's `sys.path`."""
    argv: Sequence[str]
    log: str
    directory: str
    environment: Mapping[str, str]


class Companion:
    """A Ray actor that runs one job; the job dies with it."""

    def __init__(self, process: Process) -> None:
        self._wanted = process
        self._process: subprocess.Popen[bytes] | None = None
        self._decided = threading.Event()

    def run(self) -> int:
        """Run the job, and return its exit code, negative for a signal."""
        try:
            self._process = self._started()
        finally:
            self._decided.set()
        # The thread that forked the job must wait for it: the kernel treats that thread's end as the parent's.
        code = self._process.wait()
        kill_group(self._process.pid)  # loader workers left behind
        return code

    def _started(self) -> "subprocess.Popen[bytes]":
        wanted = self._wanted
        program = (
            f"import sys; sys.path[:0] = {list(wanted.path)!r}; "
            f"from runner.signals import die_with_parent; die_with_parent({os.getpid()}); "
            f"from {wanted.entry} import main; main()"
        )
        devices = {name: value for name, value in os.environ.items() if is_of_devices(name)}
        with open(wanted.log, "ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", program, *wanted.argv],
                cwd=wanted.directory,
                env={**devices, **wanted.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def began(self) -> None:
        """Return once the job has started, or failed to."""
        self._decided.wait()

    def ask_to_stop(self) -> None:
        """Ask the job to stop after its step."""
        if self._process is not None:
            self._process.terminate()

    def kill(self) -> None:
        """Kill the job and its loader workers."""
        if self._process is not None and self._process.poll() is None:
            kill_group(self._process.pid)


def is_of_devices(name: str) -> bool:
    """Return whether a variable limits the visible accelerators, as CUDA_VISIBLE_DEVICES does."""
    return "_VISIBLE_" in name
