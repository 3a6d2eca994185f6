"""The residual network of He et al. for small images. https://arxiv.org/abs/1512.03385, section 4.2"""

from torch import Tensor, nn
from torch.nn import functional

from runner.errors import ConfigError

_WIDTHS = (16, 32, 64)


class ResNet(nn.Module):
    """6n + 2 layers: a 3x3 convolution, three stages of n blocks with 16, 32 and 64 channels, and a linear layer.

    From (batch, in_channels, height, width) to (batch, num_classes). The shortcuts have no parameters: where a stage
    halves the image, they take every other pixel and pad new channels with zeros (option A).
    """

    def __init__(self, in_channels: int, num_classes: int, depth: int = 20) -> None:
        """Make the layers.

        Raises:
            ConfigError: a depth that is not 6n + 2, or a size below 1.
        """
        super().__init__()
        if min(in_channels, num_classes) < 1 or depth < 8 or depth % 6 != 2:
            raise ConfigError(
                f"ResNet cannot have in_channels={in_channels}, num_classes={num_classes}, depth={depth}; "
                "use sizes of at least 1, and a depth of 6n + 2, such as 20"
            )
        self.conv = nn.Conv2d(in_channels, _WIDTHS[0], 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(_WIDTHS[0])
        before = (_WIDTHS[0], *_WIDTHS)
        self.stages = nn.Sequential(*(_stage(before[i], _WIDTHS[i], (depth - 2) // 6) for i in range(3)))
        self.linear = nn.Linear(_WIDTHS[-1], num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits."""
        x = self.stages(functional.relu(self.norm(self.conv(inputs))))
        logits: Tensor = self.linear(x.mean((2, 3)))
        return logits


class Block(nn.Module):
    """Two 3x3 convolutions with a shortcut around them."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.stride, self.added = width // before, width - before
        self.conv1 = nn.Conv2d(before, width, 3, stride=self.stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (batch, width, height / stride, width / stride)."""
        x = functional.relu(self.norm1(self.conv1(inputs)))
        shortcut = inputs[:, :, :: self.stride, :: self.stride]
        if self.added:
            shortcut = functional.pad(shortcut, (0, 0, 0, 0, 0, self.added))
        return functional.relu(self.norm2(self.conv2(x)) + shortcut)


def _stage(before: int, width: int, count: int) -> nn.Sequential:
    return nn.Sequential(Block(before, width), *(Block(width, width) for _ in range(count - 1)))
