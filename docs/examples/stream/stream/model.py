"""A recurrent language model."""

from torch import nn


class Recurrent(nn.Module):
    """Bytes (batch, length) to logits (batch, length, num_classes)."""

    def __init__(self, num_classes, width=64):
        super().__init__()
        self.bytes, self.cells = nn.Embedding(num_classes, width), nn.GRU(width, width, batch_first=True)
        self.head = nn.Linear(width, num_classes)

    def forward(self, inputs):
        return self.head(self.cells(self.bytes(inputs))[0])
