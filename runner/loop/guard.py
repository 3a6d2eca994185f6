"""What to do with an update whose loss or gradient is not finite, before it reaches the weights."""

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
    """Decides whether to apply an update."""

    def begin(self, models: Mapping[str, nn.Module]) -> None:
        """Prepare before the forward passes."""

    def allows(self, scaler: Precision, optimizer: Optimizer, seen: Sequence[Seen]) -> bool:
        """Return whether to apply this update."""


class Trusting:
    """Allows every update without checks; the report notices a loss that is not finite."""

    def begin(self, models: Mapping[str, nn.Module]) -> None:
        """Do nothing."""

    def allows(self, scaler: Precision, optimizer: Optimizer, seen: Sequence[Seen]) -> bool:
        """Return True."""
        return True


class Skipping:
    """Allows only finite updates, and restores the buffers that a bad batch changed.

    Synchronises on loss and gradient norm every step.
    """

    def __init__(self) -> None:
        self._put_back: Callable[[], None] = lambda: None

    def begin(self, models: Mapping[str, nn.Module]) -> None:
        """Copy every buffer, such as a BatchNorm's running statistics."""
        self._put_back = kept_buffers(models)

    def allows(self, scaler: Precision, optimizer: Optimizer, seen: Sequence[Seen]) -> bool:
        """Return whether losses and gradient are finite; if not, log a warning and restore the buffers."""
        losses = [value for values, _ in seen for name, value in values.items() if name == "loss"]
        if all(bool(torch.isfinite(loss)) for loss in losses) and scaler.is_finite(optimizer):
            return True
        self._put_back()
        logging.getLogger("runner").warning("the loss or the gradient is not finite: update skipped")
        return False
