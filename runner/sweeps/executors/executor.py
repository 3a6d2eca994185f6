"""Where jobs run: the orders that a schedule gives to a machine or cluster, and the events that come back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

KILLED = -9
"""The code of a job that vanished without one."""


@dataclass(frozen=True)
class Order:
    """A job to start."""

    number: int
    """Unique within an executor."""
    slot: int
    """Distinct among running jobs, from 0."""
    argv: Sequence[str]
    """`run.py` and its overrides."""
    log: str
    """The file to append its output to."""


@dataclass(frozen=True)
class Event:
    """A job has started, or has ended with an exit code, negative for a signal."""

    number: int
    code: int | None = None


class Executor(Protocol):
    """A context that runs each job in its own process, and leaves none behind."""

    lag: float
    """Seconds until this host sees a file that a job wrote."""

    def __enter__(self) -> Self:
        """Prepare in the background: there may be no job to run."""

    def __exit__(self, *_: object) -> None:
        """Kill the jobs that still run."""

    def start(self, order: Order) -> None:
        """Start a job, now or when there is room; a failed start is an event."""

    def events(self, timeout: float) -> list[Event]:
        """Return the events since the last call, after waiting at most `timeout` seconds for one."""

    def ask_to_stop(self, number: int) -> None:
        """Ask a job to stop after its step, with a checkpoint; ignore a job that does not run."""

    def kill(self, number: int) -> None:
        """Kill a job; ignore one that does not run."""
