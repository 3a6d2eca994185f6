"""A schedule that lowers the rate when the monitored metric stops improving, after a linear warm-up."""

from typing import Any, Literal, SupportsFloat

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from runner.optim.schedules import Horizon


class Plateau(ReduceLROnPlateau):
    """torch's ReduceLROnPlateau after a linear warm-up over `warmup` epochs, in which no evaluation counts.

    https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.ReduceLROnPlateau.html
    """

    def __init__(
        self,
        optimizer: Optimizer,
        horizon: Horizon,
        *,
        factor: float,
        patience: int,
        warmup: float = 0.0,
        mode: Literal["min", "max"] = "min",
        threshold: float = 1e-4,
        threshold_mode: Literal["rel", "abs"] = "rel",
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__(optimizer, mode, factor, patience, threshold, threshold_mode, cooldown, min_lr)
        self._warmup = horizon.steps(warmup, "epoch")
        self.base_lrs = self._rates()
        """The rates without the warm-up, as reduced so far."""
        self.steps = 0
        self.recompute()

    def advance(self) -> None:
        """Count an optimizer step."""
        self.steps += 1
        self.recompute()

    def recompute(self) -> None:
        """Set the rate of the next step."""
        share = (self.steps + 1) / (self._warmup + 1) if self.steps < self._warmup else 1.0
        for group, rate in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = rate * share
        self._last_lr = self._rates()

    def step(self, metrics: SupportsFloat, epoch: int | None = None) -> None:  # type: ignore[override]
        """Apply the rule to an evaluation, unless still warming up."""
        if self.steps >= self._warmup:
            super().step(metrics, epoch)
            self.base_lrs = self._rates()

    def state_dict(self) -> dict[str, Any]:
        """Return the state, without the warm-up's length, which the config sets."""
        return {name: value for name, value in super().state_dict().items() if name != "_warmup"}

    def _rates(self) -> list[Any]:
        return [group["lr"] for group in self.optimizer.param_groups]
