import torch
from torch import nn

STRIDE = 4


class Detector(nn.Sequential):
    """Images (batch, channels, height, width) to the cells' logits (batch, cells) and boxes (batch, cells, 4)."""

    def __init__(self, in_channels, width=16):
        shapes = (in_channels, width, 3, 2, 1), (width, width, 3, 2, 1), (width, width, 5, 1, 2)
        layers = [layer for s in shapes for layer in (nn.Conv2d(*s), nn.BatchNorm2d(width), nn.ReLU())]
        super().__init__(*layers, nn.Conv2d(width, 5, 1))

    def forward(self, images):
        cells = super().forward(images)
        rows, columns = (STRIDE * (torch.arange(n, device=cells.device) + 0.5) for n in cells.shape[2:])
        centres, scores = torch.cartesian_prod(rows, columns).flip(1), cells.flatten(2).transpose(1, 2)
        near, far = (STRIDE * scores[..., 1:].exp()).split(2, 2)
        return scores[..., 0], torch.cat((centres - near, centres + far), 2)
