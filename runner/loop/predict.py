"""Prediction: the learner's outputs for every sample of a data set; changes no state."""

from collections.abc import Mapping
from itertools import chain
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
) -> dict[str, Any]:
    """Return each output on the CPU, in the data set's order, in `eval()` mode.

    It is one tensor (samples, ...), or a list with an entry per sample where the learner returned lists.

    Raises:
        ConfigError: the learner returned anything but a row or an entry per sample under the same names.
    """
    found: dict[str, list[Any]] = {}
    place = f"{type(learner).__name__}.prediction"
    with torch.no_grad(), evaluation_mode(models, learner):
        for batch in loader:
            outputs = learner.prediction(models, move(batch.whole, device))
            _check(outputs, batch.size, {name: pieces[0] for name, pieces in found.items()} or outputs, place)
            for name, rows in outputs.items():
                found.setdefault(name, []).append(_plain(rows, f"{place} returned {name!r} with"))
    return {
        name: torch.cat(pieces) if isinstance(pieces[0], Tensor) else list(chain(*pieces))
        for name, pieces in found.items()
    }


def _check(outputs: Mapping[str, Any], count: int, first: Mapping[str, Any], place: str) -> None:
    if not outputs or list(outputs) != list(first):
        raise ConfigError(f"{place} returned {', '.join(outputs) or 'nothing'}; return the same names for every batch")
    for name, rows in outputs.items():
        if not isinstance(rows, Tensor | list) or _shape(rows) == () or len(rows) != count:
            raise ConfigError(
                f"{place} returned {name!r} as {_kind(rows)} for {count} samples; return a row per sample, or a list "
                "with an entry per sample"
            )
        if type(rows) is not type(first[name]) or _shape(rows)[1:] != _shape(first[name])[1:]:
            raise ConfigError(
                f"{place} returned {name!r} as {_kind(rows)}, and as {_kind(first[name])} for another batch; for "
                "entries of several lengths return a list, without padding"
            )


def _shape(rows: Any) -> tuple[int, ...]:
    return tuple(rows.shape) if isinstance(rows, Tensor) else (-1,)


def _kind(rows: Any) -> str:
    return str(_shape(rows)) if isinstance(rows, Tensor) else type(rows).__name__


def _plain(value: Any, place: str) -> Any:
    """Return tensors, and lists and dictionaries of them, on the CPU; ConfigError for what no file holds."""
    if isinstance(value, Tensor):
        known = value.float() if value.dtype in (torch.bfloat16, torch.float16) else value
        return known.detach().cpu()
    if isinstance(value, Mapping):
        return {str(key): _plain(item, place) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, place) for item in value]
    if not isinstance(value, str | int | float | None):
        raise ConfigError(
            f"{place} a {type(value).__name__}; give tensors, strings, numbers, and lists or dictionaries of them"
        )
    return value
