"""Random but learnable data of any shape and size."""

import math
from collections.abc import Sequence
from typing import Any

import torch

from runner.data.balance import balanced
from runner.data.inputs.transform import Transform
from runner.data.memory import InMemory
from runner.errors import ConfigError


class Synthetic:
    """Noisy copies of one random prototype per class; `val` and `test` have a fifth of the size."""

    def __init__(
        self,
        shape: Sequence[int] = (1, 32, 32),
        classes: int = 10,
        size: int = 1000,
        seed: int = 0,
        balance: str = "none",
    ) -> None:
        """Draw everything from a separate generator, seeded with `seed`.

        Raises:
            ConfigError: a size is below 1.
        """
        if min([*shape, classes, size], default=0) < 1 or not shape:
            raise ConfigError(
                f"synthetic data of shape {list(shape)}, {classes} classes, size {size} is invalid; use at least 1 each"
            )
        generator = torch.Generator().manual_seed(seed)
        prototypes = torch.randn(classes, *shape, generator=generator)
        self.in_features = math.prod(shape)
        self.num_classes = classes
        if len(shape) == 3:
            self.in_channels, self.image_size = shape[0], (shape[1], shape[2])
        self.train, self.val, self.test = (
            _drawn(prototypes, count, generator) for count in (size, max(1, size // 5), max(1, size // 5))
        )
        self.order = balanced(balance, self.train.targets)
        self._transform = Transform(tuple(shape))

    def identity(self) -> dict[str, Any]:
        """Return the form of the inputs."""
        return {"transform": self._transform.plain()}


def _drawn(prototypes: torch.Tensor, count: int, generator: torch.Generator) -> InMemory:
    labels = torch.randint(len(prototypes), (count,), generator=generator)
    noise = torch.randn(count, *prototypes.shape[1:], generator=generator)
    return InMemory(prototypes[labels] + 0.5 * noise, labels)
