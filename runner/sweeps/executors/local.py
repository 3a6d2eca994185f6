"""Jobs as processes on this machine, forked from a server that has imported torch."""

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from runner.signals import ask_group_to_stop, kill_group
from runner.sweeps.executors.executor import KILLED, Event, Order

ENTRY = "runner.commands.sweep.job_server"


class Local:
    """Runs jobs under one server process; jobs die with the server, the server with this process."""

    lag = 0.0

    def __init__(self, entry: str, *, places: Sequence[Mapping[str, str]], threads: int | None) -> None:
        """Use `entry`, a module with a `main`, as the server.

        `places` holds an environment per slot, for example its GPU; `threads` limits a job's CPU threads.
        """
        self._entry, self._places, self._threads = entry, places, threads
        self._pids: dict[int, int | None] = {}
        self._asked: dict[int, Callable[[int], None]] = {}
        self._buffer = b""

    def __enter__(self) -> Self:
        """Start the server; orders wait until it is ready."""
        program = f"import sys; sys.path[:] = {sys.path!r}; from {self._entry} import main; main()"
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            [sys.executable, "-c", program], stdin=pipe, stdout=pipe, start_new_session=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        """End the server, and with it every running job."""
        assert self._process.stdin and self._process.stdout
        if not self._pids:
            kill_group(self._process.pid)  # it may be busy importing
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def start(self, order: Order) -> None:
        """Have the server fork the job."""
        assert self._process.stdin
        Path(order.log).parent.mkdir(parents=True, exist_ok=True)
        self._pids[order.number] = None
        try:
            self._process.stdin.write(json.dumps(self._message(order)).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:  # the server died; `events` handles that
            return

    def _message(self, order: Order) -> dict[str, Any]:
        environment = self._places[order.slot % len(self._places)] if self._places else {}
        return {
            "number": order.number,
            "argv": list(order.argv),
            "log": order.log,
            "environment": environment,
            "threads": self._threads,
        }

    def events(self, timeout: float) -> list[Event]:
        """Return the server's events; replace a server that died, whose jobs are lost."""
        assert self._process.stdout
        if not select.select([self._process.stdout], [], [], timeout)[0]:
            return []
        text = os.read(self._process.stdout.fileno(), 1 << 16)
        if not text:
            return self._replaced()
        *lines, self._buffer = (self._buffer + text).split(b"\n")
        return [self._event(json.loads(line)) for line in lines]

    def _event(self, said: Mapping[str, int]) -> Event:
        number = said["number"]
        if "code" in said:
            self._forget(number)
            return Event(number, said["code"])
        self._pids[number] = said["pid"]
        if number in self._asked:
            self._asked.pop(number)(said["pid"])
        return Event(number)

    def _forget(self, number: int) -> None:
        self._pids.pop(number, None)
        self._asked.pop(number, None)

    def _replaced(self) -> list[Event]:
        lost, self._buffer = sorted(self._pids), b""
        for number in lost:
            self._forget(number)
        self.__exit__()
        self.__enter__()
        return [Event(number, KILLED) for number in lost]

    def ask_to_stop(self, number: int) -> None:
        """Send SIGTERM to the job, once it exists."""
        self._once_there(number, ask_group_to_stop)

    def kill(self, number: int) -> None:
        """Send SIGKILL to the job and its loader workers, once it exists."""
        self._once_there(number, kill_group)

    def _once_there(self, number: int, act: Callable[[int], None]) -> None:
        if (pid := self._pids.get(number)) is not None:
            act(pid)
        elif number in self._pids:
            self._asked[number] = act


def local_executor(at_a_time: int, processes: int) -> Local:
    """Return the executor of this machine: one GPU per process of a job, or a share of the CPU cores."""
    gpus = visible_gpus()
    chosen = any(argument.lstrip("+").startswith("device.index=") for argument in sys.argv)  # by the user
    shares = [gpus[first : first + processes] for first in range(0, len(gpus) - processes + 1, processes)]
    places = [{"CUDA_VISIBLE_DEVICES": ",".join(share)} for share in shares] if len(gpus) > 1 and not chosen else []
    shared = not gpus and at_a_time > 1 and "OMP_NUM_THREADS" not in os.environ
    threads = max(1, len(os.sched_getaffinity(0)) // at_a_time) if shared else None
    return Local(ENTRY, places=places, threads=threads)


def visible_gpus() -> list[str]:
    """Return the GPUs for jobs without asking torch, which would bind this process to them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name.strip() and name.strip() != "-1"]
    cards = Path("/proc/driver/nvidia/gpus")
    return [str(index) for index in range(len(list(cards.iterdir())))] if cards.is_dir() else []
