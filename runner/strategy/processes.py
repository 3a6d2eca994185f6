"""The processes of one run, and how they agree; the only reader of ranks."""

import os
from typing import TYPE_CHECKING, Protocol

from runner.errors import ConfigError

if TYPE_CHECKING:  # the command line counts processes before it imports torch
    from torch import Tensor


class Processes(Protocol):
    """One process's view of all processes of a run; each makes the same calls in the same order."""

    rank: int
    """The rank of this process; 0 is the main process, which alone writes."""
    size: int
    """The world size."""

    def agree(self, wish: str | None) -> str | None:
        """Return, in every process, the wish of the first process that has one; None if none has."""

    def sum(self, value: "Tensor") -> "Tensor":
        """Return the sum of the values of all processes."""

    def gather(self, rows: "Tensor") -> "Tensor":
        """Return the rows of all processes, each (rows, ...), in the order of the data set."""


class Alone:
    """The only process of a run."""

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
    """Raise ConfigError if several processes were started for one run, which is not supported yet."""
    size = os.environ.get("WORLD_SIZE", "")
    if "RANK" in os.environ and size.isdecimal() and int(size) > 1:
        raise ConfigError(
            f"WORLD_SIZE={size} means {size} processes for one run, which is not supported yet; start "
            "it without torchrun: strategy=data_parallel uses all GPUs of this machine"
        )
