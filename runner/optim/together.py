"""Several optimizers that step as one."""

from collections.abc import Iterable
from typing import Any

from torch.optim import Optimizer


class Together(Optimizer):
    """The optimizers of models that one loss updates: one gradient to check, scale and clip, and a step of each."""

    def __init__(self, optimizers: Iterable[Optimizer]) -> None:
        """Share the groups of the optimizers, which keep their states."""
        self._optimizers = list(optimizers)
        self.param_groups = [group for optimizer in self._optimizers for group in optimizer.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for optimizer in self._optimizers:
            optimizer.zero_grad(set_to_none)

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update the parameters of each optimizer."""
        for optimizer in self._optimizers:
            optimizer.step()
