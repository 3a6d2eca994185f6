"""So many jobs at a time, as a source brings them, until all have ended or a stop is asked for."""

import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from runner.exit_codes import INTERRUPTED
from runner.run_directory.status import Status, read_status
from runner.signals import Stop
from runner.sweeps.executors.executor import Executor, Order
from runner.sweeps.jobs import Job
from runner.sweeps.verdict import put_on_record, verdict

_PAUSE = 0.1  # seconds between two looks
_GRACE = 60.0  # seconds that a job has to save and end after it was asked to


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
    """0 if it is finished, 75 if it was stopped and is to be resumed; else it failed."""
    reason: str
    seconds: float
    given_up: bool = False
    """Whether the source wanted it stopped: it is not to be resumed."""

    @property
    def failed(self) -> bool:
        """Whether it is a failure; a job that was stopped with a checkpoint is none."""
        return self.code not in (0, INTERRUPTED)


@dataclass
class Running:
    """A job at work, or waiting for a place in its executor's queue."""

    job: Job
    slot: int
    attempt: int
    began: float
    former: Status | None = None
    """How the job stood before it was started."""
    killed_for: str | None = None
    asked_at: float | None = None
    given_up: bool = False
    at_work: bool = False


class Source(Protocol):
    """Where jobs come from, and who learns how they end."""

    def take(self) -> Job | None:
        """Return a job to run now, None if there is none; more may come once another has ended."""

    def given_up(self, running: Sequence[Job]) -> Collection[Job]:
        """Return those of the jobs at work that are not worth going on with."""

    def ended(self, ended: Ended) -> None:
        """Take note of how a job ended, after its last attempt."""


class Listed:
    """A source of jobs that are all known before the first runs."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._waiting = deque(jobs)

    def take(self) -> Job | None:
        """Return the next one."""
        return self._waiting.popleft() if self._waiting else None

    def given_up(self, running: Sequence[Job]) -> Collection[Job]:
        """Give up none."""
        return ()

    def ended(self, ended: Ended) -> None:
        """Learn nothing from it."""


class Display(Protocol):
    """Shows how jobs come along."""

    def began(self, running: Running) -> None:
        """Take note of a job that starts."""

    def look(self, running: Sequence[Running]) -> None:
        """Bring up to date what is shown."""

    def failed(self, ended: Ended) -> None:
        """Take note of an attempt after which its job is tried again."""

    def ended(self, ended: Ended) -> None:
        """Take note of a job that ended."""


@dataclass
class Schedule:
    """The jobs at work, those that are to be tried again, those that ended."""

    executor: Executor
    source: Source
    limits: Limits
    argv: Callable[[Job], Sequence[str]]
    display: Display
    again: deque[tuple[Job, int]] = field(default_factory=deque)
    running: dict[int, Running] = field(default_factory=dict)
    done: list[Ended] = field(default_factory=list)
    _number: int = 0
    _winding_up: bool = False

    def run(self, stop: Stop) -> list[Ended]:
        """Return how the jobs ended, those that were never started left out."""
        while True:
            if stop.requested() or self._winding_up:
                self._wind_up()
            else:
                self._start_some()
            if not self.running:
                return self.done
            for event in self.executor.events(_PAUSE):
                if event.code is None:
                    self._begin(self.running[event.number])
                else:
                    self._end(event.number, event.code)
            self._watch()
            self.display.look([running for running in self.running.values() if running.at_work])

    def _start_some(self) -> None:
        while len(self.running) < self.limits.at_a_time and (entry := self._next()) is not None:
            job, attempt = entry
            former = read_status(job.directory)
            if former is not None and former.state == "finished":  # by somebody else, since it was looked at
                self._settle(Ended(job, 0, "", 0.0))
                continue
            slot = min(set(range(self.limits.at_a_time)) - {running.slot for running in self.running.values()})
            self._number += 1
            self.running[self._number] = Running(job, slot, attempt, time.monotonic(), former)
            self.executor.start(Order(self._number, slot, self.argv(job), str(job.log)))

    def _next(self) -> tuple[Job, int] | None:
        if self.again:
            return self.again.popleft()
        job = self.source.take()
        return None if job is None else (job, 1)

    def _begin(self, running: Running) -> None:
        running.at_work, running.began = True, time.monotonic()
        self.display.began(running)

    def _end(self, number: int, code: int) -> None:
        running = self.running.pop(number)
        asked, seconds = running.asked_at is not None, time.monotonic() - running.began
        code, why = verdict(running.job, code, running.former, asked=asked, lag=self.executor.lag)
        ended = Ended(running.job, code, why and (running.killed_for or why), seconds, running.given_up)
        if ended.failed:
            put_on_record(running.job, ended.reason)
        if ended.failed and running.attempt <= self.limits.retries and not asked:
            self.again.append((running.job, running.attempt + 1))
            self.display.failed(ended)
        else:
            self._settle(ended)

    def _settle(self, ended: Ended) -> None:
        """Take note of how a job ended for good."""
        self.done.append(ended)
        self.source.ended(ended)
        self._winding_up |= ended.failed and self.limits.stop_on_failure
        self.display.ended(ended)

    def _watch(self) -> None:
        """Stop what is given up; kill what takes too long: to run, or to stop once it was asked to."""
        now = time.monotonic()
        given_up = self.source.given_up([running.job for running in self.running.values() if not running.asked_at])
        for number, running in self.running.items():
            late = running.at_work and self.limits.timeout is not None and now - running.began > self.limits.timeout
            if late:
                running.killed_for = f"it took longer than {self.limits.timeout:g} s"
            unheard = running.asked_at is not None and now - running.asked_at > _GRACE
            if unheard and running.killed_for is None:
                running.killed_for = f"it did not stop within {_GRACE:g} s"
            if late or unheard:
                self.executor.kill(number)
            elif running.job in given_up:
                running.given_up = True
                self._ask_to_stop(number)

    def _wind_up(self) -> None:
        """Start no others, and ask those at work to stop after their step."""
        self.again.clear()
        for number in self.running:
            self._ask_to_stop(number)

    def _ask_to_stop(self, number: int) -> None:
        running = self.running[number]
        if running.asked_at is None:
            running.asked_at = time.monotonic()
            self.executor.ask_to_stop(number)
