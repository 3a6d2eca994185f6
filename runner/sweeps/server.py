"""The process that jobs are forked from, as the one who starts them sees it."""

import json
import os
import select
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

KILLED = -9


@dataclass(frozen=True)
class Order:
    """What the server is to start."""

    number: int
    argv: Sequence[str]
    log: str
    environment: Mapping[str, str]
    threads: int | None


@dataclass(frozen=True)
class Event:
    """What the server says of a job: it runs under a pid, or it has ended with a code, negative for a signal."""

    number: int
    pid: int | None = None
    code: int | None = None


class Server:
    """A process with torch imported; what runs under it ends with it, and it ends with this one."""

    def __init__(self, entry: str) -> None:
        """Start `entry`, a module with a `main`, in the surroundings of this process."""
        self._entry = entry
        self._running: set[int] = set()
        self._buffer = b""

    def __enter__(self) -> Self:
        """Start it; what it is asked for meanwhile waits."""
        program = f"import sys; sys.path[:] = {sys.path!r}; from {self._entry} import main; main()"
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            [sys.executable, "-c", program], stdin=pipe, stdout=pipe, start_new_session=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        """End it, and with it every job that still runs."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def start(self, order: Order) -> None:
        """Ask for a job."""
        assert self._process.stdin
        Path(order.log).parent.mkdir(parents=True, exist_ok=True)
        self._running.add(order.number)
        try:
            self._process.stdin.write(json.dumps(asdict(order)).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:  # it is gone, which `events` will notice
            return

    def events(self, timeout: float) -> list[Event]:
        """Return what has happened, waiting at most so many seconds; a server that died is replaced."""
        assert self._process.stdout
        if not select.select([self._process.stdout], [], [], timeout)[0]:
            return []
        text = os.read(self._process.stdout.fileno(), 1 << 16)
        if not text:
            return self._replaced()
        *lines, self._buffer = (self._buffer + text).split(b"\n")
        events = [Event(**json.loads(line)) for line in lines]
        self._running -= {event.number for event in events if event.code is not None}
        return events

    def _replaced(self) -> list[Event]:
        lost, self._running, self._buffer = self._running, set(), b""
        self.__exit__()
        self.__enter__()
        return [Event(number, code=KILLED) for number in sorted(lost)]
