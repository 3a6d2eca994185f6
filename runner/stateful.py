"""`Stateful` is the only bridge between the loop and the checkpoint."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

MAPPINGS = (dict, OrderedDict, Counter)
"""The types of mappings that a checkpoint holds."""


@runtime_checkable
class Stateful(Protocol):
    """Whatever changes during training and can save and restore its state.

    `torch.nn.Module`, `torch.optim.Optimizer`, every scheduler and `GradScaler` are Stateful.
    """

    def state_dict(self) -> Mapping[str, Any]:
        """Return everything that changes, as tensors and plain values."""

    def load_state_dict(self, state_dict: Any, /) -> Any:
        """Restore what `state_dict` returned, completely, or raise."""


@dataclass(frozen=True)
class Absent:
    """Stands in a state for a tensor whose values are still in shards."""

    name: str
    """Its name in the shards."""
    dtype: Any
    """A `torch.dtype`."""
    shape: tuple[int, ...]


class Held:
    """A state that was taken from a part; Stateful."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        self._state = state

    def state_dict(self) -> Mapping[str, Any]:
        """Return the state."""
        return self._state

    def load_state_dict(self, state_dict: Any) -> None:
        """Raise TypeError: it only saves."""
        raise TypeError("a state that is saved restores nothing")


def mapped(state: Mapping[Any, Any], change: Callable[[Any, Any], Any]) -> Any:
    """Return a mapping of the same type with `change(key, item)` for each item, and a module's metadata.

    Its type is one of `MAPPINGS`.
    """
    copy: Any = type(state)()
    for key, item in state.items():  # the constructor of a Counter would count pairs
        copy[key] = change(key, item)
    if hasattr(state, "_metadata"):
        copy._metadata = state._metadata
    return copy
