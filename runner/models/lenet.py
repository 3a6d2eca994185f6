"""LeNet with the layer names and shapes of PyTorch's tutorials.

https://docs.pytorch.org/tutorials/beginner/blitz/neural_networks_tutorial.html
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from runner.errors import ConfigError


class LeNet(nn.Module):
    """Two convolutions and three linear layers, from (batch, in_channels, height, width) to (batch, num_classes)."""

    def __init__(self, in_channels: int, image_size: tuple[int, int], num_classes: int, dropout: float = 0.0) -> None:
        """Make the layers for images of `image_size` pixels.

        Raises:
            ConfigError: images under 16 pixels, a size below 1, or an invalid dropout.
        """
        super().__init__()
        height, width = image_size
        if min(in_channels, num_classes) < 1 or not 0 <= dropout < 1:
            raise ConfigError(
                f"LeNet cannot have in_channels={in_channels}, num_classes={num_classes}, dropout={dropout}; "
                "use sizes of at least 1, and dropout in [0, 1)"
            )
        if min(height, width) < 16:
            last = f" (if {width} is the number of channels, put channels first)" if width in (1, 3, 4) else ""
            raise ConfigError(f"LeNet needs images of at least 16x16 pixels, not {height}x{width}{last}; try model=mlp")
        self.conv1 = nn.Conv2d(in_channels, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * _after(height) * _after(width), 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits."""
        x = functional.max_pool2d(functional.relu(self.conv1(inputs)), 2)
        x = functional.max_pool2d(functional.relu(self.conv2(x)), 2)
        x = self.dropout(functional.relu(self.fc1(torch.flatten(x, 1))))
        logits: Tensor = self.fc3(self.dropout(functional.relu(self.fc2(x))))
        return logits


def _after(size: int) -> int:
    """Return `size` after two 5x5 convolutions, each halved by pooling."""
    return ((size - 4) // 2 - 4) // 2
