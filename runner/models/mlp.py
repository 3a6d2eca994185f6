"""A multilayer perceptron."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from runner.errors import ConfigError


class Mlp(nn.Module):
    """Linear layers with ReLU between, from (batch, ...) with `in_features` values each to (batch, num_classes)."""

    def __init__(
        self, in_features: int, num_classes: int, hidden: Sequence[int] = (128,), dropout: float = 0.0
    ) -> None:
        """Make one layer per width in `hidden`, and the output layer.

        Raises:
            ConfigError: a width below 1, or an invalid dropout.
        """
        super().__init__()
        widths = [in_features, *hidden, num_classes]
        if min(widths) < 1 or not 0 <= dropout < 1:
            raise ConfigError(
                f"Mlp cannot have widths {widths}, dropout={dropout}; use widths of at least 1, and dropout in [0, 1)"
            )
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in pairwise(widths[:-1]):
            layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.layers(inputs)
        return logits
