"""Regression: numbers that are to be near other numbers."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from runner.errors import ConfigError

Batch = tuple[Tensor, Tensor]

_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": functional.mse_loss,
    "l1": functional.l1_loss,
    "huber": functional.huber_loss,
}


class Regression:
    """Trains "model" to give numbers near the targets.

    A batch is (inputs: (batch, ...) float32, targets: (batch, ...) float32); the model returns the
    targets' shape. (batch, 1) and (batch,) are taken for each other.
    """

    metrics = ("loss", "mae")
    models = ("model",)

    def __init__(self, loss: str = "mse") -> None:
        """Minimise `loss`: mse, l1 or huber.

        Raises:
            ConfigError: another one.
        """
        if loss not in _LOSSES:
            raise ConfigError(f"Regression has no loss {loss!r}; choose one of {', '.join(_LOSSES)}")
        self._loss = _LOSSES[loss]

    def updates(self, step: int) -> Sequence[str]:
        """Return the one model."""
        return self.models

    def training(self, models: Mapping[str, nn.Module], name: str, batch: Batch) -> dict[str, Tensor]:
        """Return the loss."""
        return {"loss": self._loss(*_matched(models[name](batch[0]), batch[1]))}

    def evaluation(self, models: Mapping[str, nn.Module], batch: Batch) -> dict[str, Tensor]:
        """Return the loss and the mean absolute error."""
        outputs, targets = _matched(models["model"](batch[0]), batch[1])
        return {"loss": self._loss(outputs, targets), "mae": functional.l1_loss(outputs, targets)}

    def prediction(self, models: Mapping[str, nn.Module], batch: Batch) -> dict[str, Tensor]:
        """Return the model's output, (batch, ...)."""
        return {"output": models["model"](batch[0])}


def _matched(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return both in the targets' shape and, at least in float32, in one type.

    torch itself would compare (n, 1) with (n,) as n times n numbers, and targets rounded to bf16.
    """
    column = {torch.Size([len(targets)]), torch.Size([len(targets), 1])}
    if outputs.shape != targets.shape and {outputs.shape, targets.shape} != column:
        raise ConfigError(
            f"the model returns {tuple(outputs.shape[1:])} numbers a sample and the targets have "
            f"{tuple(targets.shape[1:])}; let the model return as many, in this shape"
        )
    kind = torch.promote_types(outputs.dtype, torch.float32)
    return outputs.reshape(targets.shape).to(kind), targets.to(kind)
