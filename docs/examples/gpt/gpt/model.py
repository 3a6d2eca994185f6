"""A decoder-only transformer."""

from torch import Tensor, nn


class Gpt(nn.Module):
    """Tokens (batch, length) to logits (batch, length, num_classes)."""

    def __init__(self, num_classes: int, block: int, width: int = 64, heads: int = 4, depth: int = 2) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(num_classes, width), nn.Embedding(block, width)
        shape = {"nhead": heads, "dim_feedforward": 4 * width, "activation": "gelu"}
        layers = (nn.TransformerEncoderLayer(width, **shape, batch_first=True, norm_first=True) for _ in range(depth))
        self.layers, self.norm = nn.ModuleList(layers), nn.LayerNorm(width)
        self.head = nn.Linear(width, num_classes, bias=False)
        self.head.weight = self.tokens.weight
        nn.init.normal_(self.tokens.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1], device=x.device, dtype=x.dtype)
        for layer in self.layers:
            x = layer(x, src_mask=mask, is_causal=True)
        return self.head(self.norm(x))
