"""Limits on what a config from a file may build: about as much as the file could hold the state of."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from runner.data import Synthetic
from runner.errors import TargetRefused

_MAKERS = frozenset(
    getattr(torch, name)
    for name in ("empty", "zeros", "ones", "full", "rand", "randn", "randint", "arange", "linspace", "eye")
)
_REPEATED = re.compile("num_.*layers")
_MOST_LAYERS = 1000


class Budget:
    """Limits on the bytes and tensors made for one file; an ordinary model needs a fraction of them."""

    def __init__(self, size: int, *, typed: frozenset[str] = frozenset(), listed: frozenset[str] = frozenset()) -> None:
        """Set the limits for a file of `size` bytes; `typed` names and `listed` classes are exempt."""
        self.size = size
        self._bytes = 2**28 + 4 * size
        self._tensors = 20_000 + size // 256
        self._typed, self._listed = typed, listed

    def passes(self, name: str, *, function: bool = False) -> bool:
        """Return whether a name is exempt: typed, or a class listed in `trust`, where a function must be listed."""
        return name in self._typed or (name in self._listed and not function)

    @contextmanager
    def bound(self, name: str, cls: Any, arguments: Mapping[str, Any], place: str) -> Iterator[None]:
        """Limit the building of `cls` in this context; raise TargetRefused before memory runs over the budget.

        Only what is made from numbers is limited; what reads data may take as much as the disk holds.
        """
        refusal = too_much(name, place, function=not isinstance(cls, type))
        self.take(0, refusal)
        made_of_numbers = place.split(".")[0] == "model" or (isinstance(cls, type) and issubclass(cls, _MADE))
        if self.passes(name, function=not isinstance(cls, type)) or not made_of_numbers:
            yield
            return
        for key, value in arguments.items():
            if _REPEATED.fullmatch(key) and isinstance(value, int) and value > _MOST_LAYERS:
                raise refusal
        with _Counting(self, refusal):
            yield

    def take(self, size: int, refusal: TargetRefused) -> None:
        """Count a tensor, or an object, of `size` bytes; raise the refusal if the budget is spent."""
        self._bytes -= size
        self._tensors -= 1
        if min(self._bytes, self._tensors) < 0:
            raise refusal


_MADE = (nn.Module, Synthetic)


class _Counting(TorchFunctionMode):
    """Counts each new tensor, before it is made if its size is known, else after."""

    def __init__(self, budget: Budget, refusal: TargetRefused) -> None:
        super().__init__()
        self._budget, self._refusal = budget, refusal

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _MAKERS:
            self._budget.take(_size(func, args, kwargs), self._refusal)
            return func(*args, **kwargs)
        result = func(*args, **kwargs)
        if isinstance(result, Tensor) and not _is_of(result, args):
            self._budget.take(result.nbytes, self._refusal)
        return result


def _size(func: Any, args: Any, kwargs: Mapping[str, Any]) -> int:
    """Return how many bytes a tensor would have; 0 if torch itself refuses to make it."""
    described = {key: value for key, value in kwargs.items() if key not in ("device", "generator", "pin_memory")}
    try:
        return int(func(*args, **described, device="meta").nbytes)
    except (RuntimeError, TypeError, ValueError, OverflowError):
        return 0


def _is_of(result: Tensor, args: Any) -> bool:
    """Return whether a tensor is a view of an argument, or the argument itself."""
    if result.is_meta or result.layout is not torch.strided:
        return True
    place = result.untyped_storage().data_ptr()
    return any((isinstance(arg, Tensor) and arg is result) or _place(arg) == place for arg in args)


def _place(arg: Any) -> int | None:
    strided = isinstance(arg, Tensor) and arg.layout is torch.strided and not arg.is_meta
    return arg.untyped_storage().data_ptr() if strided else None


def too_much(name: str, place: str, *, function: bool = False) -> TargetRefused:
    """Return the error for a class or function whose arguments exceed the budget of its file."""
    return TargetRefused(
        f"{place}: {name} with this file's arguments would take far more memory or time than a model of its size; "
        f"to allow it, add {f'{place}._target_={name}' if function else f'trust=[{name}]'}"
    )
