"""An optimizer and a scheduler that are not of torch's making."""

from typing import Any

import torch


class Homemade:
    """A scheduler that does without torch's base class."""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer


class Layerwise(torch.optim.Adam):
    """A rate for each layer, and no weight decay on what has one dimension; its groups know no names if `bare`."""

    def __init__(
        self, named: Any, lr: float, decay: float = 0.5, weight_decay: float = 0.1, bare: bool = False
    ) -> None:
        layers = list(dict.fromkeys(name.rpartition(".")[0] for name, _ in named))
        groups: dict[Any, Any] = {}
        for name, parameter in named:
            depth, flat = layers.index(name.rpartition(".")[0]), parameter.dim() < 2
            settings = {"lr": lr * decay**depth, "weight_decay": 0.0 if flat else weight_decay}
            group = groups.setdefault((settings["lr"], flat), {"params": [], **settings})
            group["params"].append(parameter if bare else (name, parameter))
        super().__init__(list(groups.values()))
