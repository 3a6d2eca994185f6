"""What happens to an update whose loss or gradient is not finite, before it reaches the weights."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch
from torch import nn
from torch.optim import Optimizer

from runner.optim.buffers import kept_buffers
from runner.progress import Seen
from runner.strategy.precision import Precision


class Guard(Protocol):
    """Decides whether an update is made."""

    def begin(self, models: Mapping[str, nn.Module]) -> None:
        """Look at the models before their forward passes."""

    def allows(self, scaler: Precision, optimizer: Optimizer, seen: Sequence[Seen]) -> bool:
        """Return whether to make the update that these losses and the present gradient are of."""


class Trusting:
    """Allows every update and looks at nothing; a loss that is not finite is noticed when it is reported."""

    def begin(self, models: Mapping[str, nn.Module]) -> None:
        """Do nothing."""

    def allows(self, scaler: Precision, optimizer: Optimizer, seen: Sequence[Seen]) -> bool:
        """Return True."""
        return True


class Skipping:
    """Allows finite updates only, and puts back the buffers that a bad batch has gone into.

    To know it, the loss and the gradient's norm are waited for in every step.
    """

    def __init__(self) -> None:
        self._put_back: Callable[[], None] = lambda: None

    def begin(self, models: Mapping[str, nn.Module]) -> None:
        """Keep a copy of every buffer, such as a BatchNorm's running statistics."""
        self._put_back = kept_buffers(models)

    def allows(self, scaler: Precision, optimizer: Optimizer, seen: Sequence[Seen]) -> bool:
        """Return whether the losses and the gradient are finite; if not, say so and put the buffers back."""
        losses = [value for values, _ in seen for name, value in values.items() if name == "loss"]
        if all(bool(torch.isfinite(loss)) for loss in losses) and scaler.is_finite(optimizer):
            return True
        self._put_back()
        logging.getLogger("runner").warning("the loss or the gradient is not finite: this update is left out")
        return False
