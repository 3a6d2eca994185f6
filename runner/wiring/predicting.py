"""`model.predict` of a loaded model: what `task=predict source=...` does, in Python."""

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from runner.data.loaders.delivery import Loading
from runner.data.sources import evaluated
from runner.learners import Predicting
from runner.loop.predict import predict
from runner.places import local_path
from runner.randomness import isolated
from runner.tracking.predictions import rows_of
from runner.wiring.build.loaders import collate_of
from runner.wiring.new_data import NewData, Origin, new_data, of_arrays, tensor_of
from runner.wiring.trust.targets import Trust

_BATCH = 64


class Predict:
    """Predicts for new data as the checkpoint of its model does; no part of the model's state."""

    def __init__(
        self, model: nn.Module, learner: Predicting, origin: Origin, trust: Trust, seed: tuple[int, int]
    ) -> None:
        self._model, self._learner, self._origin, self._trust, self._seed = model, learner, origin, trust, seed

    def __call__(self, source: Any, *, batch_size: int = _BATCH) -> list[dict[str, Any]]:
        """Return a dictionary per sample, as a line of `output=p.jsonl` has.

        The source is a path or a list of paths, as in `source=...`, or an array (samples, ...) of inputs as the
        training's file had them. It runs where the model is, in `eval()` mode; random generators stay untouched.

        Raises:
            runner.errors.RunnerError: no such file, or not of the form that the training had.
        """
        with isolated(*self._seed):
            new = self._new(source)
            loader = evaluated(new.dataset, Loading(batch_size, workers=0, collate=collate_of(new.data)))
            found = predict({"model": self._model}, self._learner, loader, self._device())
        return rows_of(found, new.classes, new.beside)

    def _new(self, source: Any) -> NewData:
        paths = [source] if isinstance(source, str | os.PathLike) else source
        if isinstance(paths, Sequence) and paths and all(isinstance(one, str | os.PathLike) for one in paths):
            return new_data([local_path(one) for one in paths], self._origin, self._trust)
        return of_arrays(tensor_of(source), self._origin)

    def _device(self) -> torch.device:
        tensors = [*self._model.parameters(), *self._model.buffers()]
        return tensors[0].device if tensors else torch.device("cpu")
