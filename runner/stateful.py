"""`Stateful` is the only thing that the loop and the checkpoint know about each other's objects."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Stateful(Protocol):
    """Whatever changes during training and can say and take back its state.

    `torch.nn.Module`, `torch.optim.Optimizer`, every scheduler and `GradScaler` are Stateful.
    """

    def state_dict(self) -> Mapping[str, Any]:
        """Return all that changes, as tensors and plain values."""

    def load_state_dict(self, state_dict: Any, /) -> Any:
        """Take back what `state_dict` returned, completely, or raise."""
