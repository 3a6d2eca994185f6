"""Mixup and CutMix: each sample of a batch is mixed with another one, and the loss with it."""

import torch
from torch import Tensor

from runner.errors import ConfigError


class Mixing:
    """Mixes batches by Mixup or by CutMix; if both are chosen, by one of them at random.

    The random numbers come from torch's global generators, which a checkpoint holds, so a resume is exact.
    https://arxiv.org/abs/1710.09412, https://arxiv.org/abs/1905.04899
    """

    def __init__(self, mixup: float = 0.0, cutmix: float = 0.0) -> None:
        """Draw the share of a batch's own samples from Beta(mixup, mixup) or Beta(cutmix, cutmix); 0 is none.

        Raises:
            ConfigError: a number below 0.
        """
        if mixup < 0 or cutmix < 0:
            raise ConfigError(f"Mixing cannot have mixup={mixup} and cutmix={cutmix}; use numbers of at least 0")
        self._mixup, self._cutmix = mixup, cutmix

    def __call__(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, float]:
        """Return the mixed inputs, the targets of the samples mixed in, and the share of the own targets.

        The loss is `share * loss(outputs, targets) + (1 - share) * loss(outputs, others)`.

        Args:
            inputs: (batch, ...) floating-point; for CutMix (batch, channels, height, width).
            targets: (batch, ...).

        Raises:
            ConfigError: inputs or targets that cannot be mixed.
        """
        self._check(inputs, targets)
        if not self._mixup and not self._cutmix:
            return inputs, targets, 1.0
        cuts = not self._mixup or (self._cutmix > 0 and bool(torch.rand(()) < 0.5))
        alpha = self._cutmix if cuts else self._mixup
        share = float(torch.distributions.Beta(alpha, alpha).sample())
        partners = torch.randperm(len(inputs), device=inputs.device)
        mixed, share = _pasted(inputs, partners, share) if cuts else (inputs[partners].lerp(inputs, share), share)
        return mixed, targets[partners], share

    def _check(self, inputs: Tensor, targets: Tensor) -> None:
        if self._mixup and not inputs.is_floating_point():
            raise ConfigError(f"mixup needs floating-point inputs, and these are {inputs.dtype}; leave it out")
        if self._cutmix and (inputs.dim() < 4 or targets.dim() > 2):
            raise ConfigError(
                "cutmix needs images with a target for each, and the inputs and targets are "
                f"{tuple(inputs.shape)} and {tuple(targets.shape)}; leave it out"
            )


def _pasted(inputs: Tensor, partners: Tensor, share: float) -> tuple[Tensor, float]:
    """Return images with a rectangle of their partners, and the share of the area that is their own."""
    height, width = inputs.shape[-2:]
    rows, columns = (_cut(size, (1 - share) ** 0.5) for size in (height, width))
    mixed = inputs.clone()
    mixed[..., rows, columns] = inputs[..., rows, columns][partners]
    return mixed, 1 - (rows.stop - rows.start) * (columns.stop - columns.start) / (height * width)


def _cut(size: int, part: float) -> slice:
    """Return a part of a side, around a random centre, within the image."""
    centre, half = int(torch.randint(size, ())), int(size * part) // 2
    return slice(max(0, centre - half), min(size, centre + half))
