"""The moving average of a model's weights, often better than the latest weights.

https://docs.pytorch.org/docs/stable/optim.html#weight-averaging-swa-and-ema
"""

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from runner.optim.buffers import copied, follow_buffers, take_buffers


class Average:
    """A copy of a model with averaged parameters and the model's current buffers; Stateful.

    Its state_dict has the model's names, so that the model can load it.
    """

    def __init__(self, model: nn.Module, *, decay: float) -> None:
        """Start from the model's current weights."""
        averaged = AveragedModel(copied(model), multi_avg_fn=get_ema_multi_avg_fn(decay))  # type: ignore[no-untyped-call]
        averaged.n_averaged.fill_(1)  # at 0 the first update would only copy
        self._averaged = averaged

    @property
    def model(self) -> nn.Module:
        """The model with the averaged weights."""
        model: nn.Module = self._averaged.module
        return model

    def update(self, model: nn.Module) -> None:
        """Set the average to decay * average + (1 - decay) * weights."""
        follow_buffers(self.model, model)
        self._averaged.update_parameters(model)

    def state_dict(self) -> Mapping[str, Any]:
        """Return the averaged model's state_dict."""
        return self.model.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore the average; RuntimeError if the state is another model's."""
        take_buffers(self.model, state_dict)
        self.model.load_state_dict(state_dict)
