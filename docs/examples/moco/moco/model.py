"""An encoder of images."""

from torch import nn
from torch.nn.functional import normalize


class Encoder(nn.Sequential):
    """Images (batch, channels, height, width) to unit vectors (batch, features)."""

    def __init__(self, in_channels, features=32, width=16):
        layers = (nn.Conv2d(in_channels, width, 3, stride=2), nn.GroupNorm(4, width), nn.ReLU())
        layers += (nn.Conv2d(width, 2 * width, 3, stride=2), nn.GroupNorm(4, 2 * width), nn.ReLU())
        super().__init__(*layers, nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(18 * width, features))

    def forward(self, images):
        return normalize(super().forward(images), dim=1)
