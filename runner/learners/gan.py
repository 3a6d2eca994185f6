"""A generative adversarial network with the non-saturating loss. https://arxiv.org/abs/1406.2661"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from runner.errors import ConfigError

Batch = tuple[Tensor, Tensor]


class Gan:
    """Trains "discriminator" to tell data from the images of "generator", then "generator" to deceive it.

    A batch is (images: (batch, channels, height, width) float32, ignored targets).
    """

    metrics = ("loss", "generator_loss", "discriminator_loss", "real_accuracy")
    models = ("generator", "discriminator")

    def __init__(self, latent: int = 64) -> None:
        """Use noise of `latent` values; the generator must expect as many.

        Raises:
            ConfigError: `latent` is below 1.
        """
        if latent < 1:
            raise ConfigError(f"Gan cannot have latent={latent}; use at least 1")
        self.latent = latent

    def updates(self, step: int) -> Sequence[str]:
        """Return both models, the discriminator first."""
        return ("discriminator", "generator")

    def training(self, models: Mapping[str, nn.Module], name: str, batch: Batch) -> dict[str, Tensor]:
        """Return the loss of the model to update."""
        if name == "generator":
            return {"loss": _judged(models["discriminator"](self._made(models, batch)), 1.0)}
        made = self._made(models, batch).detach()
        return {"loss": self._discriminator_loss(models["discriminator"], batch[0], made)}

    def evaluation(self, models: Mapping[str, nn.Module], batch: Batch) -> dict[str, Tensor]:
        """Return both losses, and the share of real images that the discriminator accepts."""
        made = self._made(models, batch)
        generator = _judged(models["discriminator"](made), 1.0)
        believed = (models["discriminator"](batch[0]) > 0).float().mean()
        return {
            "loss": generator,
            "generator_loss": generator,
            "discriminator_loss": self._discriminator_loss(models["discriminator"], batch[0], made),
            "real_accuracy": believed,
        }

    def _made(self, models: Mapping[str, nn.Module], batch: Batch) -> Tensor:
        noise = torch.randn(len(batch[0]), self.latent, device=batch[0].device)
        made: Tensor = models["generator"](noise)
        return made

    def _discriminator_loss(self, discriminator: nn.Module, real: Tensor, made: Tensor) -> Tensor:
        return (_judged(discriminator(real), 1.0) + _judged(discriminator(made), 0.0)) / 2


def _judged(logits: Tensor, wanted: float) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, wanted))
