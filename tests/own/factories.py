"""Functions and a classmethod that make models and optimizers, as people's packages have them."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

loaded: list[str] = []
"""The names of the weights that were fetched."""


def net(kind: str, pretrained: bool = False, **settings: Any) -> nn.Module:
    """Return a model by its name, as timm's `create_model` does."""
    if pretrained:
        loaded.append(kind)
    return nn.Linear(4, settings["classes"])


def no_net(width: int) -> str:
    """Return no model."""
    return f"a net of width {width}"


def wide(width: int) -> nn.Module:
    """Return a model as large as it is told to be."""
    return nn.Linear(width, width)


@dataclass
class Settings:
    """What a model is made by."""

    width: int
    labels: int = 2


class Auto:
    """Makes models by a classmethod, as transformers' `AutoModel` does."""

    @classmethod
    def from_config(cls, config: Settings, dropout: float = 0.0) -> nn.Module:
        """Return the model of some settings."""
        return nn.Sequential(nn.Linear(4, config.width), nn.Dropout(dropout), nn.Linear(config.width, config.labels))


def adam(model: nn.Module, lr: float) -> torch.optim.Optimizer:
    """Return an optimizer of a whole model, with a group for what has one dimension."""
    named = list(model.named_parameters())
    flat = [(name, parameter) for name, parameter in named if parameter.dim() < 2]
    rest = [(name, parameter) for name, parameter in named if parameter.dim() > 1]
    return torch.optim.AdamW([{"params": rest}, {"params": flat, "weight_decay": 0.0}], lr=lr)
