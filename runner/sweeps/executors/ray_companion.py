"""What stays beside a job on the node where Ray has put it, and reaches it there by signals."""

import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runner.signals import kill_group


@dataclass(frozen=True)
class Process:
    """What a job is as a process: the same on every node, which therefore needs the same files."""

    entry: str
    """A module with a `main` that takes the command line from its arguments."""
    path: Sequence[str]
    """Where the sweep finds its modules."""
    argv: Sequence[str]
    log: str
    directory: str
    environment: Mapping[str, str]


class Companion:
    """An actor of Ray that runs one job; when it ends itself, however that happens, the job ends as well."""

    def __init__(self, process: Process) -> None:
        self._wanted = process
        self._process: subprocess.Popen[bytes] | None = None
        self._decided = threading.Event()

    def run(self) -> int:
        """Start the job, and return the code that it ends with, negative for a signal."""
        try:
            self._process = self._started()
        finally:
            self._decided.set()
        # Waited for by the very thread that has forked it, whose end the kernel would take for the parent's.
        code = self._process.wait()
        kill_group(self._process.pid)  # loader workers that it may have left behind
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
        """Return once the job has been started, or could not be."""
        self._decided.wait()

    def ask_to_stop(self) -> None:
        """Let the job stop after its step."""
        if self._process is not None:
            self._process.terminate()

    def kill(self) -> None:
        """End the job and its loader workers."""
        if self._process is not None and self._process.poll() is None:
            kill_group(self._process.pid)


def is_of_devices(name: str) -> bool:
    """Return whether a variable says which accelerators a process may see, as CUDA_VISIBLE_DEVICES does."""
    return "_VISIBLE_" in name
