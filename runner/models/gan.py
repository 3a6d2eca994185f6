"""A small generator and discriminator for images such as the digits."""

import math

from torch import Tensor, nn

from runner.errors import ConfigError


class Generator(nn.Module):
    """Maps noise (batch, latent) to images (batch, in_channels, height, width) in [-1, 1]."""

    def __init__(self, latent: int, in_channels: int, image_size: tuple[int, int]) -> None:
        super().__init__()
        if latent < 1:
            raise ConfigError(f"Generator cannot have latent={latent}; use at least 1")
        self.latent = latent
        self.shape = (in_channels, *image_size)
        pixels = math.prod(self.shape)
        self.layers = nn.Sequential(
            nn.Linear(latent, 128),
            nn.ReLU(),
            nn.Linear(128, 256),
            nn.ReLU(),
            nn.Linear(256, pixels),
            nn.Tanh(),
        )

    def forward(self, noise: Tensor) -> Tensor:
        """Return the images."""
        images: Tensor = self.layers(noise)
        return images.view(-1, *self.shape)


class Discriminator(nn.Module):
    """Maps images (batch, in_channels, height, width) to logits (batch, 1) of being real."""

    def __init__(self, in_channels: int, image_size: tuple[int, int]) -> None:
        super().__init__()
        pixels = in_channels * math.prod(image_size)
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(pixels, 256), nn.LeakyReLU(0.2), nn.Dropout(0.3), nn.Linear(256, 1)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.layers(images)
        return logits
