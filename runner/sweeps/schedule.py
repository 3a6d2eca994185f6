"""So many jobs at a time, each in a place of its own, until all have ended or a stop is asked for."""

import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from runner.signals import Stop, ask_group_to_stop, kill_group, signal_name
from runner.sweeps.jobs import Job
from runner.sweeps.server import Order, Server

_PAUSE = 0.1  # seconds between two looks
_GRACE = 60.0  # seconds that a job has to save and end after it was asked to
STOPPED = 75


@dataclass(frozen=True)
class Limits:
    """What jobs may take."""

    at_a_time: int
    retries: int = 0
    timeout: float | None = None
    """Seconds that one attempt of a job may take."""
    stop_on_failure: bool = False


@dataclass(frozen=True)
class Ended:
    """How a job ended."""

    job: Job
    code: int
    reason: str
    seconds: float

    @property
    def failed(self) -> bool:
        """Whether it is a failure; a job that was stopped with a checkpoint is none."""
        return self.code not in (0, STOPPED)


@dataclass
class Running:
    """A job at work."""

    job: Job
    place: int
    began: float
    attempt: int
    pid: int | None = None
    killed_for: str | None = None
    asked_at: float | None = None


class Display(Protocol):
    """Shows how jobs come along."""

    def began(self, running: Running) -> None:
        """Take note of a job that starts."""

    def look(self, running: Sequence[Running]) -> None:
        """Bring up to date what is shown."""

    def ended(self, ended: Ended) -> None:
        """Take note of a job that ended."""


@dataclass
class Schedule:
    """Jobs that wait, those at work, those that ended."""

    server: Server
    limits: Limits
    places: Sequence[Mapping[str, str]]
    """The environment of each place: a device of its own, for example."""
    threads: int | None
    argv: Callable[[Job], Sequence[str]]
    display: Display
    waiting: deque[tuple[Job, int]] = field(default_factory=deque)
    running: dict[int, Running] = field(default_factory=dict)
    done: list[Ended] = field(default_factory=list)
    _number: int = 0
    _winding_up: bool = False

    def run(self, jobs: Sequence[Job], stop: Stop) -> list[Ended]:
        """Return how the jobs ended, those that were never started left out."""
        self.waiting.extend((job, 1) for job in jobs)
        while self.waiting or self.running:
            if stop.requested() or self._winding_up:
                self._wind_up()
            self._start_some()
            for event in self.server.events(_PAUSE):
                if event.pid is not None and event.number in self.running:
                    self.running[event.number].pid = event.pid
                if event.code is not None:
                    self._end(event.number, event.code)
            self._watch()
            self.display.look(list(self.running.values()))
        return self.done

    def _start_some(self) -> None:
        while self.waiting and len(self.running) < self.limits.at_a_time:
            job, attempt = self.waiting.popleft()
            taken = {running.place for running in self.running.values()}
            place = min(set(range(self.limits.at_a_time)) - taken)
            self._number += 1
            self.running[self._number] = Running(job, place, time.monotonic(), attempt)
            environment = self.places[place % len(self.places)] if self.places else {}
            self.server.start(Order(self._number, self.argv(job), str(job.log), environment, self.threads))
            self.display.began(self.running[self._number])

    def _end(self, number: int, code: int) -> None:
        running = self.running.pop(number)
        ended = Ended(running.job, code, _reason(running, code), time.monotonic() - running.began)
        if ended.failed and running.attempt <= self.limits.retries and running.asked_at is None:
            self.waiting.append((running.job, running.attempt + 1))
        else:
            self.done.append(ended)
            self._winding_up |= ended.failed and self.limits.stop_on_failure
        self.display.ended(ended)

    def _watch(self) -> None:
        """Kill what takes too long: to run, or to stop once it was asked to."""
        now = time.monotonic()
        for running in self.running.values():
            late = self.limits.timeout is not None and now - running.began > self.limits.timeout
            if late:
                running.killed_for = f"it took longer than {self.limits.timeout:g} s"
            unheard = running.asked_at is not None and now - running.asked_at > _GRACE
            if running.pid is not None and (late or unheard):
                kill_group(running.pid)

    def _wind_up(self) -> None:
        """Start no others, and ask those at work to stop after their step."""
        self.waiting.clear()
        for running in self.running.values():
            if running.asked_at is None and running.pid is not None:
                running.asked_at = time.monotonic()
                ask_group_to_stop(running.pid)


def _reason(running: Running, code: int) -> str:
    if running.killed_for:
        return running.killed_for
    return f"killed by {signal_name(-code)}" if code < 0 else f"exit code {code}"


def visible_gpus() -> list[str]:
    """Return the GPUs that jobs may have, without asking torch, whose answer would bind this process to them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name.strip() and name.strip() != "-1"]
    cards = Path("/proc/driver/nvidia/gpus")
    return [str(index) for index in range(len(list(cards.iterdir())))] if cards.is_dir() else []
