"""What to do with an update whose loss or gradient is not finite or spikes, before it reaches the weights."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Protocol

from torch import nn
from torch.optim import Optimizer

from runner.errors import Spike
from runner.optim.buffers import kept_buffers
from runner.progress import Names, Progress, Seen, Total, joined, of_one_process
from runner.strategy.precision import Precision

_RECENT = 32  # losses


class Guard(Protocol):
    """Decides whether to apply an update."""

    def begin(self, models: Mapping[str, nn.Module]) -> None:
        """Prepare before the forward passes."""

    def allows(self, scaler: Precision, optimizer: Optimizer, seen: Sequence[Seen], names: Names) -> bool:
        """Return whether to apply this update of the models `names`."""


class Trusting:
    """Allows every update without checks; the report notices a loss that is not finite."""

    def begin(self, models: Mapping[str, nn.Module]) -> None:
        """Do nothing."""

    def allows(self, scaler: Precision, optimizer: Optimizer, seen: Sequence[Seen], names: Names) -> bool:
        """Return True."""
        return True


class Skipping:
    """Allows only finite updates, and restores the buffers that a bad batch changed.

    Synchronises on loss and gradient norm every step.
    """

    def __init__(self, total: Total = of_one_process) -> None:
        self._total = total
        self._put_back: Callable[[], None] = lambda: None

    def begin(self, models: Mapping[str, nn.Module]) -> None:
        """Copy every buffer, such as a BatchNorm's running statistics."""
        self._put_back = kept_buffers(models)

    def allows(self, scaler: Precision, optimizer: Optimizer, seen: Sequence[Seen], names: Names) -> bool:
        """Return whether losses and gradient are finite; if not, log a warning and restore the buffers."""
        losses = {str(number): values["loss"] for number, (values, _) in enumerate(seen)}
        if all(math.isfinite(loss) for loss in self._total(losses).values()) and scaler.is_finite(optimizer):
            return True
        self._put_back()
        logging.getLogger("runner").warning("the loss or the gradient is not finite: update skipped")
        return False


class SkippingSpikes:
    """Allows what `inner` allows, except a loss above `factor` times the median of a model's recent ones.

    Synchronises on the loss every step. Losses are compared once 32 updates were applied, and above 0 only.
    """

    def __init__(self, inner: Guard, progress: Progress, total: Total = of_one_process, *, factor: float) -> None:
        self._inner, self._progress, self._total, self._factor = inner, progress, total, factor
        self._put_back: Callable[[], None] = lambda: None

    def begin(self, models: Mapping[str, nn.Module]) -> None:
        """Copy every buffer, such as a BatchNorm's running statistics."""
        self._inner.begin(models)
        self._put_back = kept_buffers(models)

    def allows(self, scaler: Precision, optimizer: Optimizer, seen: Sequence[Seen], names: Names) -> bool:
        """Return whether to apply this update; if its loss is a spike, log a warning and restore the buffers."""
        if not self._inner.allows(scaler, optimizer, seen, names):
            return False
        name, own = joined(names), sum(float(values["loss"]) * share for values, share in seen)
        loss = float(self._total({"loss": own})["loss"])
        recent = self._progress.recent_losses.setdefault(name, [])
        usual = median(recent) if len(recent) == _RECENT else 0.0
        if loss > self._factor * usual > 0:
            self._put_back()
            median_of = f"{usual:.4g}, the median of the last {_RECENT}"
            self._refuse(f"the loss of the {name}, {loss:.4g}, is a spike above {median_of}")
            return False
        recent.append(loss)
        del recent[:-_RECENT]
        return True

    def _refuse(self, found: str) -> None:
        logging.getLogger("runner").warning("%s: update skipped", found)


class RaisingSpikes(SkippingSpikes):
    """Ends training at a spike, for a rollback."""

    def _refuse(self, found: str) -> None:
        raise Spike(f"{found}; use a smaller optimizer.lr, clip_norm=1, or a larger spike_factor")
