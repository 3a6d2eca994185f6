"""The UCI digits, which come with the package: real data without a network."""

from pathlib import Path
from typing import Any

from torch.nn import functional

from runner.data.balance import balanced
from runner.data.idx_format import read_idx
from runner.data.inputs.pictures import Pictures
from runner.data.inputs.transform import Transform
from runner.data.memory import InMemory

_FOLDER = Path(__file__).parent / "digits"
_TRAIN, _VAL = 1257, 180


class Digits:
    """1,797 handwritten digits as (1, 32, 32) float32 in [-1, 1]: 1,257 to train on, 180 to validate, 360 to test."""

    in_channels = 1
    image_size = (32, 32)
    in_features = 1024
    num_classes = 10
    transform = Pictures(8, "grey", enlarged=32)
    """Of a new picture, white on black, the input."""

    def __init__(self, augment: str = "none", balance: str = "none") -> None:
        small = read_idx(_FOLDER / "images-idx3-ubyte.gz").float().unsqueeze(1) / 8 - 1
        images = functional.interpolate(small, size=(32, 32), mode="bilinear", align_corners=False)
        labels = read_idx(_FOLDER / "labels-idx1-ubyte.gz").long()
        end = _TRAIN + _VAL
        self.train = InMemory(images[:_TRAIN], labels[:_TRAIN], augment=augment)
        self.order = balanced(balance, self.train.targets)
        self.val = InMemory(images[_TRAIN:end], labels[_TRAIN:end])
        self.test = InMemory(images[end:], labels[end:])

    def identity(self) -> dict[str, Any]:
        """Return how new pictures become inputs."""
        return {"transform": Transform(self.transform.shape, pictures=self.transform).plain()}
