"""The processes of one run: which of them this is, and what all of them agree on; the only reader of ranks."""

import os
from typing import TYPE_CHECKING, Protocol

from runner.errors import ConfigError

if TYPE_CHECKING:  # the command line asks how many there are before torch is needed
    from torch import Tensor


class Processes(Protocol):
    """What one process of a run knows of the others; every process makes the same calls in the same order."""

    rank: int
    """The number of this process; that of the main process, which alone writes, is 0."""
    size: int
    """How many there are: the world size."""

    def agree(self, wish: str | None) -> str | None:
        """Return the wish of the first process that has one, in each of them alike; None if none has."""

    def sum(self, value: "Tensor") -> "Tensor":
        """Return the sum of the values of all processes."""

    def gather(self, rows: "Tensor") -> "Tensor":
        """Return the rows of all processes, each (rows, ...), in the order of the data set."""


class Alone:
    """The one process of a run that has no others."""

    rank, size = 0, 1

    def agree(self, wish: str | None) -> str | None:
        """Return the wish."""
        return wish

    def sum(self, value: "Tensor") -> "Tensor":
        """Return the value."""
        return value

    def gather(self, rows: "Tensor") -> "Tensor":
        """Return the rows."""
        return rows


def check_single_process() -> None:
    """Raise ConfigError in each of several processes that were started for one run: they are not supported yet."""
    size = os.environ.get("WORLD_SIZE", "")
    if "RANK" in os.environ and size.isdecimal() and int(size) > 1:
        raise ConfigError(
            f"WORLD_SIZE={size} says that {size} processes were started for one run, which is not supported yet; start "
            "it without torchrun: strategy=data_parallel uses all GPUs of this machine"
        )
