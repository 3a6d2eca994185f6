"""Read a pickled structure without importing or calling anything that it names.

Only the opcodes and calls that `torch.save` writes for tensors and plain values are read. The length of the pickle
and `most_steps` bound work and memory.
"""

import gc
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pickle import UnpicklingError
from typing import Any

from runner.checkpoint.inert import Device, Dtype, Size, Storage, TensorFacts
from runner.checkpoint.reader.pickle_machine import SCALARS, Machine, Unreasonable
from runner.checkpoint.reader.tree import MOST_LEVELS, leaves
from runner.text import printable

_MOST_STEPS, _STEPS_OF_TENSOR = 2_000_000, 40  # about two seconds; a tensor takes about 25
_LEAVES = (*SCALARS, complex, bytes, bytearray, set, Dtype, Device, Size)
_CONTAINERS = (dict, OrderedDict, Counter, list, tuple)


@dataclass(frozen=True)
class Structure:
    """The content of a pickle."""

    content: Any
    storages: Mapping[str, Storage]
    """By the name of the member with its bytes."""
    odd: list[TensorFacts]
    """The sparse and quantized tensors, whose values must also be consistent."""
    byte_order: str


def most_steps(tensors: int) -> int:
    """Return how many steps reading a structure with this many tensors may take."""
    return _MOST_STEPS + _STEPS_OF_TENSOR * tensors


def read_structure(pickled: bytes, tensors: int, byte_order: str = "little") -> Structure:
    """Return the structure of a pickle; its file has `tensors` members for storages.

    Raises:
        Unreasonable: it takes too many steps, is nested too deeply, or has tensors larger than their storages.
        Foreign: it names something other than tensors and plain values.
        ValueError, EOFError, UnpicklingError...: it is malformed.
    """
    machine = Machine(pickled, most_steps(tensors))
    with uncollected():
        content = machine.run()
        _check_tree(content, iter(range(min(2 * len(pickled) + 1000, most_steps(tensors)))))
    if not machine.fits:
        raise Unreasonable(f"{_misfit(content)} claims more elements than the file stores")
    return Structure(content, machine.storages, machine.odd, byte_order)


def _misfit(content: Any) -> str:
    names = (name for name, item in leaves(content) if isinstance(item, TensorFacts) and not item.fits)
    return printable(".".join(filter(None, ("the file", next(names, "")))).replace(".[", "["))


@contextmanager
def uncollected() -> Iterator[None]:
    """Disable garbage collection inside the block: among millions of new objects it costs time and frees nothing."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _check_tree(content: Any, steps: Iterator[int]) -> None:
    """Check that a walk through `content` ends, and meets only tensors and plain values."""
    # `leaves` would never end on a container that holds itself, and does not check types.
    end: Any = object()
    waiting: list[Iterator[Any]] = [iter((content,))]
    for _ in steps:
        while waiting and (entry := next(waiting[-1], end)) is end:
            waiting.pop()
        if not waiting:
            return
        kind = type(entry)
        if kind in _CONTAINERS:
            if len(waiting) > MOST_LEVELS:
                raise Unreasonable("it is nested too deeply")
            waiting.append(iter(entry.values() if issubclass(kind, dict) else entry))
        elif kind not in _LEAVES and not issubclass(kind, TensorFacts):
            raise UnpicklingError("it holds a bare name in place of a value")
    raise Unreasonable("it holds more values than any checkpoint, or repeats the same ones")
