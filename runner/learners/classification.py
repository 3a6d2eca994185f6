"""Classification by cross-entropy."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from torch.nn import functional

from runner.errors import ConfigError

Batch = tuple[Tensor, Tensor]


class Classification:
    """Trains "model" to give the right class the largest logit.

    A batch is (inputs: (batch, ...) float32, targets: (batch,) int64); the model returns (batch, classes).
    """

    metrics = ("loss", "accuracy")
    models = ("model",)

    def __init__(self, label_smoothing: float = 0.0) -> None:
        """Smooth the targets of training, never those of evaluation.

        Raises:
            ConfigError: a smoothing outside [0, 1).
        """
        if not 0 <= label_smoothing < 1:
            raise ConfigError(f"Classification cannot have label_smoothing={label_smoothing}; give a number in [0, 1)")
        self._label_smoothing = label_smoothing

    def updates(self, step: int) -> Sequence[str]:
        """Return the one model."""
        return self.models

    def training(self, models: Mapping[str, nn.Module], name: str, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy."""
        inputs, targets = batch
        logits = models[name](inputs)
        return {"loss": functional.cross_entropy(logits, targets, label_smoothing=self._label_smoothing)}

    def evaluation(self, models: Mapping[str, nn.Module], batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy and the share of right answers."""
        inputs, targets = batch
        logits = models["model"](inputs)
        accuracy = (logits.argmax(1) == targets).float().mean()
        return {"loss": functional.cross_entropy(logits, targets), "accuracy": accuracy}

    def prediction(self, models: Mapping[str, nn.Module], batch: Batch) -> dict[str, Tensor]:
        """Return the class, (batch,) int64, its probability, (batch,), and those of all, (batch, classes)."""
        logits = models["model"](batch[0])
        chosen, probabilities = logits.argmax(1), logits.float().softmax(1)
        probability = probabilities.gather(1, chosen[:, None]).squeeze(1)
        return {"class": chosen, "probability": probability, "probabilities": probabilities}
