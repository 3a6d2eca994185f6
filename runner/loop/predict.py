"""Prediction: the learner's outputs for every sample of a data set; changes no state."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from runner.data.loaders.batches import move
from runner.data.sources import Evaluated
from runner.errors import ConfigError
from runner.learners import Predicting
from runner.loop.evaluate import evaluation_mode


def predict(
    models: Mapping[str, nn.Module], learner: Predicting, loader: Evaluated, device: torch.device
) -> dict[str, Tensor]:
    """Return each output as one tensor (samples, ...) on the CPU, in the data set's order, in `eval()` mode.

    Raises:
        ConfigError: the learner returned anything but one row per sample under the same names.
    """
    found: dict[str, list[Tensor]] = {}
    with torch.no_grad(), evaluation_mode(models, learner):
        for batch in loader:
            outputs = learner.prediction(models, move(batch.whole, device))
            _check(outputs, learner, batch.size, list(found) or list(outputs))
            for name, rows in outputs.items():
                found.setdefault(name, []).append(rows.detach().cpu())
    return {name: torch.cat(pieces) for name, pieces in found.items()}


def _check(outputs: Mapping[str, Any], learner: Predicting, count: int, names: list[str]) -> None:
    place = f"{type(learner).__name__}.prediction"
    if not outputs or list(outputs) != names:
        raise ConfigError(f"{place} returned {', '.join(outputs) or 'nothing'}; return the same names for every batch")
    for name, rows in outputs.items():
        shape = tuple(rows.shape) if isinstance(rows, Tensor) else type(rows).__name__
        if not isinstance(rows, Tensor) or rows.dim() == 0 or len(rows) != count:
            raise ConfigError(f"{place} returned {name!r} as {shape} for {count} samples; return a row per sample")
