"""Data of one's own that read new files."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.own.points import NoisyPoints

FOLDER = Path("letters")
"""Where the training data are."""
CLASSES = ["below", "above"]


class Letters(NoisyPoints):
    """Has four numbers in each text file; without its folder it has no `train`."""

    endings = (".txt",)

    def __init__(self) -> None:
        if FOLDER.is_dir():
            super().__init__()

    def identity(self) -> dict[str, Any]:
        return {"classes": CLASSES}

    def transform(self, file: Path) -> Tensor:
        return torch.tensor([float(word) for word in file.read_text().split()])


class Pairs(Letters):
    """Makes its batches itself, of samples with and without a target."""

    def collate(self, samples: list[Any]) -> Any:
        return tuple(torch.stack(column) for column in zip(*samples, strict=True))

    def transform(self, file: Path) -> Any:
        return (super().transform(file),)


class Silent(NoisyPoints):
    """Has an attribute `transform` that is no method."""

    transform = None
