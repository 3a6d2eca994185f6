"""A small vision transformer. https://arxiv.org/abs/2010.11929"""

import torch
from torch import nn


class Vit(nn.Module):
    """Images (batch, channels, height, width) to logits (batch, num_classes)."""

    def __init__(self, in_channels, image_size, num_classes, patch=8, width=32, depth=4, heads=4):
        super().__init__()
        self.patches = nn.Conv2d(in_channels, width, patch, stride=patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        count = 1 + (image_size[0] // patch) * (image_size[1] // patch)
        self.positions = nn.Parameter(0.02 * torch.randn(1, count, width))
        shape = {"nhead": heads, "dim_feedforward": 4 * width, "activation": "gelu"}
        layers = (nn.TransformerEncoderLayer(width, **shape, batch_first=True, norm_first=True) for _ in range(depth))
        self.blocks, self.norm, self.head = nn.Sequential(*layers), nn.LayerNorm(width), nn.Linear(width, num_classes)

    def forward(self, images):
        patches = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat((self.token.expand(len(patches), -1, -1), patches), 1) + self.positions
        return self.head(self.norm(self.blocks(tokens)[:, 0]))
