"""Several processes as a process group of torch.distributed, as torchrun starts them.

https://docs.pytorch.org/docs/stable/distributed.html
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from runner.errors import ProcessFailed, RunnerError
from runner.strategy.distributed.board import Board, generation
from runner.strategy.distributed.flag import Flag

T = TypeVar("T")

_START = 1800.0  # seconds to wait for the other processes before the config is known


@contextmanager
def joined() -> Iterator["Group"]:
    """Join the process group that the environment names; leave it at the end.

    Raises:
        ProcessFailed: the other processes did not come.
    """
    patience = timedelta(seconds=_START)
    try:
        found, rank, size = next(rendezvous("env://", timeout=patience))
        store = PrefixStore(generation(found, rank, size), found)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=patience)
    except (RuntimeError, ValueError) as error:
        raise ProcessFailed(f"the processes of this run do not find each other: {_first(error)}") from error
    board = Board(PrefixStore("runner", store), rank, size)
    board.enter()
    try:
        yield Group(dist.group.WORLD, board)
    finally:
        board.leave()
        with suppress(RuntimeError):  # the others may have ended already
            dist.destroy_process_group()


class Group:
    """Processes that agree over the CPU, whatever their devices.

    A call raises ProcessFailed if another process has ended, or does not come in time.
    """

    def __init__(self, group: Any, board: Board) -> None:
        self._group, self._board = group, board
        self.tell, self.failure, self.first_to_say = board.tell, board.failure, board.first_to_say
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self._flag = Flag(group)

    def limited(self, seconds: float) -> "Group":
        """Return a group of the same processes, which wait for each other at most this long."""
        return Group(dist.new_group(backend="gloo", timeout=timedelta(seconds=seconds)), self._board)

    def agree_soon(self, wish: str | None) -> str | None:
        """Return, in every process, the strongest wish of all, as `Flag` tells it."""
        with in_time():
            return self._flag.exchange(wish)

    def once(self, make: Callable[[], T]) -> T:
        """Return, in every process, what the main process makes; tensors arrive on the CPU, one by one.

        Raises:
            BaseException: what `make` raised; ProcessFailed in its place where it is not one of the runner's errors.
        """
        if self.rank:
            received: T = self._received()
            return received
        try:
            made = make()
        except Exception as error:
            known = isinstance(error, RunnerError)
            self._send(error if known else ProcessFailed(f"rank 0: {type(error).__name__}: {error}"))
            raise
        self._send(made)
        return made

    def _send(self, value: Any) -> None:
        tensors: list[Tensor] = []
        form = _changed(value, lambda leaf: _Shape.of(leaf, tensors) if isinstance(leaf, Tensor) else leaf)
        with in_time():
            dist.broadcast_object_list([form], 0, group=self._group)
            for tensor in tensors:
                dist.broadcast(as_bytes(tensor.detach().cpu().resolve_conj().contiguous()), 0, group=self._group)

    def _received(self) -> Any:
        box: list[Any] = [None]
        with in_time():
            dist.broadcast_object_list(box, 0, group=self._group)
            value = _changed(box[0], lambda leaf: self._tensor(leaf) if isinstance(leaf, _Shape) else leaf)
        if isinstance(value, Exception):
            raise value
        return value

    def _tensor(self, shape: "_Shape") -> Tensor:
        tensor = torch.empty(shape.sizes, dtype=shape.dtype)
        dist.broadcast(as_bytes(tensor), 0, group=self._group)
        return tensor

    def gather(self, value: T) -> list[T]:
        """Return the values of all processes by rank, in the main process; nothing elsewhere."""
        found: list[Any] | None = [None] * self.size if self.rank == 0 else None
        with in_time():
            dist.gather_object(value, found, 0, group=self._group)
        return found or []

    def tally(self, numbers: Sequence[int]) -> Sequence[Sequence[int]]:
        """Return, in every process, the numbers of all by rank; all give equally many."""
        table = torch.zeros(self.size, len(numbers), dtype=torch.int64)
        table[self.rank] = torch.tensor(numbers)
        with in_time():
            self._group.allreduce([table]).wait()  # `dist.all_reduce` takes twice as long
        found: list[list[int]] = table.tolist()
        return found

    def offered(self, value: T | None) -> T | None:
        """Return, in every process, the first value by rank that is not None; tensors arrive on the CPU."""
        everywhere = self.gather(value)
        return self.once(lambda: next((one for one in everywhere if one is not None), None))

    def total(self, figures: Mapping[str, Tensor | float]) -> Mapping[str, Tensor | float]:
        """Return, in every process, the sum of each figure over all processes, as float32 if it is a tensor."""
        everywhere = self.gather({name: torch.as_tensor(value).detach().cpu() for name, value in figures.items()})
        return self.once(lambda: _sums(everywhere))


@dataclass(frozen=True)
class _Shape:
    """Stands for a tensor that follows."""

    sizes: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, tensor: Tensor, tensors: list[Tensor]) -> "_Shape":
        """Return what stands for a tensor, and keep the tensor."""
        tensors.append(tensor)
        return cls(tuple(tensor.shape), tensor.dtype)


def as_bytes(tensor: Tensor) -> Tensor:
    """Return the bytes of a contiguous tensor, in its memory: gloo does not know every dtype."""
    return tensor.view(-1).view(torch.uint8)


def _changed(value: Any, change: Callable[[Any], Any]) -> Any:
    """Apply `change` to every leaf of nested dictionaries, lists and tuples."""
    if type(value) in (dict, OrderedDict):
        return type(value)((key, _changed(item, change)) for key, item in value.items())
    return type(value)(_changed(item, change) for item in value) if type(value) in (list, tuple) else change(value)


def _sums(everywhere: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the sums by name, of the processes that have the name."""
    names = dict.fromkeys(name for figures in everywhere for name in figures)
    return {name: torch.stack([one[name] for one in everywhere if name in one]).sum(0) for name in names}


@contextmanager
def in_time() -> Iterator[None]:
    """Raise ProcessFailed for the many errors of a group whose members have ended, or are late."""
    try:
        yield
    except RuntimeError as error:
        if not (isinstance(error, dist.DistError) or "gloo" in str(error)):
            raise
        raise ProcessFailed(f"another process of this run has ended, or hangs ({_first(error)})") from error


def _first(error: Exception) -> str:
    """Return the first sentence of an error, without the place in torch's sources."""
    return re.sub(r"^(Gloo connectFullMesh failed with )?\[[^]]*\.cc:\d+\] ?", "", str(error)).split(". ")[0][:200]
