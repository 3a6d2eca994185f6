"""Regression: a model that predicts numbers."""

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
    """Trains "model" to predict the targets.

    A batch is (inputs: (batch, ...) float32, targets: (batch, ...) float32); the model returns the targets' shape.
    (batch, 1) and (batch,) count as equal.
    """

    metrics = ("loss", "mae")
    models = ("model",)

    def __init__(self, loss: str = "mse") -> None:
        """Minimise `loss`: mse, l1 or huber.

        Raises:
            ConfigError: another loss.
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
    """Return both in the targets' shape and in one type, at least float32.

    torch would broadcast (n, 1) against (n,) to n x n, and round targets to bf16.
    """
    column = {torch.Size([len(targets)]), torch.Size([len(targets), 1])}
    if outputs.shape != targets.shape and {outputs.shape, targets.shape} != column:
        raise ConfigError(
            f"the model returns shape {tuple(outputs.shape[1:])} per sample and the targets have "
            f"{tuple(targets.shape[1:])}; return the targets' shape"
        )
    kind = torch.promote_types(outputs.dtype, torch.float32)
    return outputs.reshape(targets.shape).to(kind), targets.to(kind)
