"""Where jobs run: what a schedule asks of a machine or a cluster, and what it hears from there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

KILLED = -9
"""The code of a job of which nothing is known but that it is gone."""


@dataclass(frozen=True)
class Order:
    """A job that is to be started."""

    number: int
    """Unique among all orders of an executor."""
    slot: int
    """Which of those that run at a time it is; jobs at work have different ones."""
    argv: Sequence[str]
    """`run.py` and its words."""
    log: str
    """Where all that it prints is appended."""


@dataclass(frozen=True)
class Event:
    """What has become of a job: it runs, or it has ended with a code, negative for a signal."""

    number: int
    code: int | None = None


class Executor(Protocol):
    """Runs jobs while it is entered, each in a process of its own; none is left when it is not."""

    lag: float
    """Seconds until a file that a job left can be seen here."""

    def __enter__(self) -> Self:
        """Make ready, without waiting for it: perhaps nothing is to run."""

    def __exit__(self, *_: object) -> None:
        """End what still runs."""

    def start(self, order: Order) -> None:
        """Start a job, now or as soon as there is room; what goes wrong with it is an event."""

    def events(self, timeout: float) -> list[Event]:
        """Return what has happened since the last call, waiting at most so many seconds for it."""

    def ask_to_stop(self, number: int) -> None:
        """Let a job stop after its step, with a checkpoint; of one that does not run, do nothing."""

    def kill(self, number: int) -> None:
        """End a job at once; of one that does not run, do nothing."""
