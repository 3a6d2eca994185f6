"""Use a user's objects and leave them as they were: attributes, containers and tensors."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from runner.strategy.processes import own_part

_DEEPEST = 4  # containers in containers


@contextmanager
def untouched(things: Sequence[Any]) -> Iterator[None]:
    """Restore, at the end of the block, the things' attributes, with the content of containers and tensors.

    Other objects in attributes are not restored, unless they are among the things.
    """
    kept = [_kept(vars(thing)) for thing in things if hasattr(thing, "__dict__")]
    try:
        yield
    finally:
        for put_back in kept:
            put_back()


def _kept(value: Any, depth: int = 0) -> Callable[[], None]:
    """Return a function that restores the present content of a container or a tensor."""
    if isinstance(value, Tensor):
        return _kept_tensor(value)
    if not isinstance(value, (dict, list, deque, set)) or depth > _DEEPEST:
        return _nothing
    before = list(value.items() if isinstance(value, dict) else value)
    inner = [_kept(item, depth + 1) for item in (value.values() if isinstance(value, dict) else value)]
    inner = [put_back for put_back in inner if put_back is not _nothing]

    def put_back() -> None:
        value.clear()
        if isinstance(value, dict):
            for key, item in before:  # a Counter's `update` would add
                value[key] = item
        else:
            value.update(before) if isinstance(value, set) else value.extend(before)
        for again in inner:
            again()

    return put_back


def _kept_tensor(tensor: Tensor) -> Callable[[], None]:
    if is_lazy(tensor) or tensor.is_meta or tensor.is_inference() or tensor.layout is not torch.strided:
        return _nothing
    before = tensor.detach().clone()

    def put_back() -> None:
        with torch.no_grad():
            if tensor.shape != before.shape:
                tensor.data = before
                return
            now, then = own_part(tensor), own_part(before)  # this process may be the only one that failed
            if not torch.equal(now, then):  # an expanded tensor can be read but not written
                now.detach().copy_(then)

    return put_back


def _nothing() -> None:
    pass
