"""Data sets in memory that deliver whole batches."""

from collections.abc import Sequence

import torch
from torch import Tensor

from runner.data.loaders.whole import WholeBatches
from runner.errors import ConfigError

AUGMENTATIONS = ("none", "shift", "flip_shift")
_SHIFT = 2  # pixels, in each direction


class InMemory(WholeBatches):
    """Inputs and targets as tensors; `fetch` gets a batch by one indexing.

    uint8 inputs are scaled to [-1, 1] when fetched, which takes a quarter of the memory.
    """

    def __init__(self, inputs: Tensor, targets: Tensor, *, augment: str = "none") -> None:
        """Hold inputs (samples, ...) uint8 or float32, and targets (samples,) int64.

        Raises:
            ConfigError: an unknown augmentation.
        """
        check_augmentation(augment)
        self.inputs, self.targets, self._augment = inputs, targets, augment

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return one sample, not augmented."""
        return scaled(self.inputs[index]), self.targets[index]

    def fetch(self, indices: Tensor, *, seed: int, epoch: int) -> tuple[Tensor, Tensor]:
        """Return the samples at `indices`, augmented as a pure function of (seed, epoch, index)."""
        inputs = augmented(self.inputs[indices], self._augment, indices, seed=seed, epoch=epoch)
        return scaled(inputs), self.targets[indices]


def check_augmentation(augment: str) -> None:
    """Raise ConfigError for an unknown augmentation."""
    if augment not in AUGMENTATIONS:
        raise ConfigError(f"data.augment={augment} is unknown; choose one of {', '.join(AUGMENTATIONS)}")


def augmented(images: Tensor, augment: str, indices: Tensor, *, seed: int, epoch: int) -> Tensor:
    """Return images (batch, channels, height, width) augmented as a pure function of (seed, epoch, index)."""
    if augment == "none":
        return images
    return _shifted(images, _draws(indices, seed, epoch, 3), flips=augment == "flip_shift")


def scaled(inputs: Tensor) -> Tensor:
    """Return uint8 inputs as float32 in [-1, 1], others as they are."""
    return inputs.float().mul_(2 / 255).sub_(1) if inputs.dtype is torch.uint8 else inputs


def _shifted(images: Tensor, draws: Sequence[Tensor], *, flips: bool) -> Tensor:
    count, _, height, width = images.shape
    rows, columns = _window(height, draws[0]), _window(width, draws[1])
    if flips:
        columns = torch.where((draws[2] % 2 == 1)[:, None], columns.flip(1), columns)
    batch = torch.arange(count)[:, None, None]
    return images[batch, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def _window(size: int, draws: Tensor) -> Tensor:
    """Return the line indices for each image, shifted by its draw; border lines repeat."""
    offsets = draws % (2 * _SHIFT + 1) - _SHIFT
    return (torch.arange(size) + offsets[:, None]).clamp_(0, size - 1)


def _draws(indices: Tensor, seed: int, epoch: int, count: int) -> list[Tensor]:
    """Return `count` hashes in [0, 2**31) for each index, mixed as in splitmix64. https://prng.di.unimi.it/"""
    key = (seed * 0x9E3779B97F4A7C15 + epoch * 0xD1B54A32D192ED03) % 2**63
    return [_mixed(indices * count + which + key) for which in range(count)]


def _mixed(x: Tensor) -> Tensor:
    x = (x ^ (x >> 30)) * -4658895280553007687  # 0xBF58476D1CE4E5B9 as a signed number
    x = (x ^ (x >> 27)) * -7723592293110705685  # 0x94D049BB133111EB
    return (x ^ (x >> 31)) & 0x7FFFFFFF
