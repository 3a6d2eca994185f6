"""Digits of which some are rare."""

import torch
from torch.utils.data import Subset

from runner.data import Digits


class RareDigits:
    """The shipped digits; of the classes 5 to 9, every fifth image is left to train on."""

    in_channels, image_size, num_classes = 1, (32, 32), 10

    def __init__(self, balanced=True):
        digits, kept = Digits(), torch.arange(1257)
        kept = kept[(digits.train.targets < 5) | (kept % 5 == 0)]
        self.train, self.val, self.test = Subset(digits.train, kept.tolist()), digits.val, digits.test
        labels = digits.train.targets[kept]
        self.weights = 1 / labels.bincount()[labels] if balanced else torch.ones(len(kept))

    def order(self, epoch, generator):
        """As many samples as there are, each class equally often."""
        return torch.multinomial(self.weights, len(self.weights), replacement=True, generator=generator)
