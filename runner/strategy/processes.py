"""The processes of one run, and how they agree; the only reader of ranks.

Each process makes the same calls in the same order. One process is the null form: `Alone`.
"""

import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

from runner.errors import ConfigError

if TYPE_CHECKING:  # the command line counts processes before it imports torch
    from torch import Tensor

    Figure = Tensor | float

T = TypeVar("T")
_YOUNG = 10  # seconds


class Processes(Protocol):
    """One process's view of all processes of a run."""

    rank: int
    """The rank of this process; 0 is the main process, which alone writes."""
    size: int
    """The world size."""

    def agree_soon(self, wish: str | None) -> str | None:
        """Return, in every process, the strongest wish of all, for a stop or a save.

        With several processes it is that of the former call, so that nobody waits.
        """

    def once(self, make: Callable[[], T]) -> T:
        """Return, in every process, what the main process makes, or raise what it raised."""

    def gather(self, value: T) -> list[T]:
        """Return the values of all processes by rank, in the main process; nothing elsewhere."""

    def tally(self, numbers: Sequence[int]) -> Sequence[Sequence[int]]:
        """Return, in every process, the numbers of all by rank; all give equally many."""

    def offered(self, value: T | None) -> T | None:
        """Return, in every process, the first value by rank that is not None."""

    def total(self, figures: "Mapping[str, Figure]") -> "Mapping[str, Figure]":
        """Return, in every process, the sum of each figure over all processes."""

    def tell(self, failure: str) -> None:
        """Leave word of why this process fails, for the main process."""

    def failure(self) -> str | None:
        """Return which process failed first and why, as far as that is known."""

    def first_to_say(self, text: str) -> bool:
        """Return whether no other process has said this text."""

    def limited(self, seconds: float) -> "Processes":
        """Return the same processes, which wait for each other at most this long."""


class Alone:
    """The only process of a run."""

    rank, size = 0, 1

    def agree_soon(self, wish: str | None) -> str | None:
        """Return the wish."""
        return wish

    def once(self, make: Callable[[], T]) -> T:
        """Return what `make` returns."""
        return make()

    def gather(self, value: T) -> list[T]:
        """Return the value."""
        return [value]

    def tally(self, numbers: Sequence[int]) -> Sequence[Sequence[int]]:
        """Return the numbers."""
        return [numbers]

    def offered(self, value: T | None) -> T | None:
        """Return the value."""
        return value

    def total(self, figures: "Mapping[str, Figure]") -> "Mapping[str, Figure]":
        """Return the figures."""
        return figures

    def tell(self, failure: str) -> None:
        """Do nothing."""

    def failure(self) -> str | None:
        """Return None."""
        return None

    def first_to_say(self, text: str) -> bool:
        """Return True."""
        return True

    def limited(self, seconds: float) -> "Alone":
        """Return this process, which waits for none."""
        return self


def own_part(tensor: "Tensor") -> "Tensor":
    """Return the part of a tensor that this process has: of a divided one its shard, of another one all."""
    local: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return local


def world_size() -> int:
    """Return how many processes were started for one run, as torchrun tells; 1 without it."""
    size = os.environ.get("WORLD_SIZE", "")
    return int(size) if "RANK" in os.environ and size.isdecimal() else 1


def check_single_process(task: str) -> None:
    """Raise ConfigError if several processes were started for what one process does."""
    if (size := world_size()) > 1:
        raise ConfigError(f"{task} runs in one process, and WORLD_SIZE={size} means {size}; start it without torchrun")


@contextmanager
def launched() -> "Iterator[Processes]":
    """Join the processes that torchrun started for this run; alone, import and do nothing."""
    if world_size() == 1:
        yield Alone()
        return
    from runner.strategy.distributed.group import joined

    with joined() as group:
        yield group


def launcher() -> list[str]:
    """Return the words that start as many processes on this host, before those of `run.py`; none for one process."""
    return ["torchrun", f"--nproc-per-node={local_size()}"] if world_size() > 1 else []


def is_launched() -> bool:
    """Return whether torchrun, or the like, started this process."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def job_token() -> str | None:
    """Return what all restarts of one torchrun job share, by which they find their run; None without torchrun."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    if (named := os.environ["TORCHELASTIC_RUN_ID"]) != "none":
        return named
    return f"{platform.node()}:{os.getppid()}:{_started(os.getppid())}"


def is_left_behind() -> bool:
    """Return whether torchrun has died before this process could ask to die with it: the system adopted the process.

    An init that is as young as this process, such as that of a container of its own, has started it.
    """
    parent = os.getppid()
    if _read(parent, "comm").strip() == "systemd":  # a user's
        return True
    started, own = _started(parent), _started(os.getpid())
    command = os.path.basename(_read(parent, "cmdline").partition("\0")[0])
    if (
        parent != 1 or not (started and own and command) or command.startswith("python")
    ):  # torchrun as a container's init
        return False
    return int(own) - int(started) > _YOUNG * os.sysconf("SC_CLK_TCK")


def is_restarted() -> bool:
    """Return whether torchrun has started these processes again."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"


def _started(pid: int) -> str:
    """Return when a process was started, in the kernel's ticks, so that a pid that is used again is another."""
    return "".join(_read(pid, "stat").rpartition(")")[2].split()[19:20])


def _read(pid: int, file: str) -> str:
    """Return what the kernel tells about a process, "" if that is hidden, or if this is not Linux."""
    try:
        with open(f"/proc/{pid}/{file}", encoding="utf-8", errors="replace") as found:
            return found.read()
    except OSError:
        return ""


def local_rank() -> int:
    """Return this process's rank among those of its host."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def local_size() -> int:
    """Return the number of processes on this host."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
