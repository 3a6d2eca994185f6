"""Runs up to n jobs at a time from a source, until all have ended or a stop is requested."""

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
from runner.sweeps.outcome import put_on_record, verdict

_PAUSE = 0.1  # seconds between two looks
_GRACE = 60.0  # seconds for a job to save and exit after a stop request


@dataclass(frozen=True)
class Limits:
    """How many jobs run at a time, how long an attempt may take, how failures are handled."""

    at_a_time: int
    retries: int = 0
    timeout: float | None = None
    """Seconds per attempt."""
    stop_on_failure: bool = False


@dataclass(frozen=True)
class Ended:
    """How a job ended."""

    job: Job
    code: int
    """0: finished. 75: stopped, can be resumed. Anything else: failed."""
    reason: str
    seconds: float
    given_up: bool = False
    """Whether the source stopped it for good."""

    @property
    def failed(self) -> bool:
        """Whether the job failed; stopping with a checkpoint is not a failure."""
        return self.code not in (0, INTERRUPTED)


@dataclass
class Running:
    """A job that runs, or waits in its executor's queue."""

    job: Job
    slot: int
    attempt: int
    began: float
    former: Status | None = None
    """The job's status before this attempt."""
    killed_for: str | None = None
    asked_at: float | None = None
    given_up: bool = False
    at_work: bool = False


class Source(Protocol):
    """Supplies jobs, and learns how they end."""

    def take(self) -> Job | None:
        """Return a job to run now, or None; more may come once another has ended."""

    def given_up(self, running: Sequence[Job]) -> Collection[Job]:
        """Return the running jobs to stop for good."""

    def ended(self, ended: Ended) -> None:
        """Record how a job ended, after its last attempt."""


class Listed:
    """A source whose jobs are all known in advance."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._waiting = deque(jobs)

    def take(self) -> Job | None:
        """Return the next job."""
        return self._waiting.popleft() if self._waiting else None

    def given_up(self, running: Sequence[Job]) -> Collection[Job]:
        """Give up none."""
        return ()

    def ended(self, ended: Ended) -> None:
        """Ignore it."""


class Display(Protocol):
    """Shows the progress of jobs."""

    def began(self, running: Running) -> None:
        """Show that a job started."""

    def look(self, running: Sequence[Running]) -> None:
        """Refresh the progress of the running jobs."""

    def failed(self, ended: Ended) -> None:
        """Show that an attempt failed and the job will be retried."""

    def ended(self, ended: Ended) -> None:
        """Show how a job ended."""


@dataclass
class Schedule:
    """The jobs that run, wait for a retry, or have ended."""

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
        """Run the jobs, and return how each one that was started ended."""
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
            if former is not None and former.state == "finished":  # by another process meanwhile
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
        """Record how a job ended for good."""
        self.done.append(ended)
        self.source.ended(ended)
        self._winding_up |= ended.failed and self.limits.stop_on_failure
        self.display.ended(ended)

    def _watch(self) -> None:
        """Stop the jobs that the source gives up; kill those over the time limit or deaf to a stop request."""
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
        """Start no more jobs, and ask the running ones to stop after their step."""
        self.again.clear()
        for number in self.running:
            self._ask_to_stop(number)

    def _ask_to_stop(self, number: int) -> None:
        running = self.running[number]
        if running.asked_at is None:
            running.asked_at = time.monotonic()
            self.executor.ask_to_stop(number)
