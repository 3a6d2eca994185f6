"""Classification by cross-entropy."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from runner.errors import ConfigError
from runner.learners.mixing import Mixing

Batch = tuple[Tensor, Tensor]


class Classification:
    """Trains "model" to give the target class the largest logit.

    A batch is (inputs: (batch, ...) float32, targets: (batch,) int64); the model returns (batch, classes).
    """

    metrics = ("loss", "accuracy")
    models = ("model",)

    def __init__(self, label_smoothing: float = 0.0, mixup: float = 0.0, cutmix: float = 0.0) -> None:
        """Smooth the targets and mix the batches in training, not in evaluation; see `Mixing`.

        Raises:
            ConfigError: a smoothing outside [0, 1), or a negative mixup or cutmix.
        """
        if not 0 <= label_smoothing < 1:
            raise ConfigError(f"Classification cannot have label_smoothing={label_smoothing}; use a number in [0, 1)")
        self._label_smoothing = label_smoothing
        self._mix = Mixing(mixup, cutmix)

    def updates(self, step: int) -> Sequence[str]:
        """Return the one model."""
        return self.models

    def training(self, models: Mapping[str, nn.Module], name: str, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy, of both targets where samples are mixed."""
        inputs, targets = batch
        mixed, others, share = self._mix(inputs, targets)
        logits = models[name](mixed)
        loss = _cross_entropy(logits, targets, self._label_smoothing)
        if share < 1:
            loss = share * loss + (1 - share) * _cross_entropy(logits, others, self._label_smoothing)
        return {"loss": loss}

    def evaluation(self, models: Mapping[str, nn.Module], batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy and the accuracy."""
        inputs, targets = batch
        logits = models["model"](inputs)
        loss = _cross_entropy(logits, targets)
        return {"loss": loss, "accuracy": (logits.argmax(1) == targets).float().mean()}

    def prediction(self, models: Mapping[str, nn.Module], batch: Batch) -> dict[str, Tensor]:
        """Return the class (batch,) int64, its probability (batch,), and all probabilities (batch, classes)."""
        logits = models["model"](batch[0])
        chosen, probabilities = logits.argmax(1), logits.float().softmax(1)
        probability = probabilities.gather(1, chosen[:, None]).squeeze(1)
        return {"class": chosen, "probability": probability, "probabilities": probabilities}


def _cross_entropy(logits: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Return the mean cross-entropy of targets that are class numbers; ConfigError for other targets.

    torch would read targets (batch, classes) as probabilities, and the accuracy would be wrong.
    """
    is_tensor = isinstance(targets, Tensor)
    numbers = is_tensor and targets.dtype in (torch.int64, torch.uint8)
    if not numbers or logits.dim() < 2 or targets.shape != logits.shape[:1] + logits.shape[2:]:
        found = f"{tuple(targets.shape)} {targets.dtype}" if is_tensor else f"a {type(targets).__name__}"
        raise ConfigError(
            f"Classification needs one class number per sample, int64; the model returns {tuple(logits.shape)} "
            f"and the targets are {found}: give class numbers, or choose learner=regression"
        )
    try:
        return functional.cross_entropy(logits, targets, label_smoothing=label_smoothing)
    except IndexError as error:
        raise ConfigError(
            f"the model returns {logits.shape[1]} classes, numbered from 0, and a target is outside them ({error}); "
            "give the model as many classes as the data"
        ) from error
