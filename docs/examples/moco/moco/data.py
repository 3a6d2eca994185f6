"""Two random views of each digit."""

import torch
from torch.utils.data import Dataset, TensorDataset

from runner.data import Digits


def view(image):
    """A random crop with noise."""
    top, left = torch.randint(0, 3, (2,)).tolist()
    crop = image[:, top : top + 30, left : left + 30]
    return crop + 0.2 * torch.randn(crop.shape)


class Views(Dataset):
    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return view(self.images[index]), view(self.images[index])


class DigitViews:
    """Pairs of views to train on; images with labels to evaluate."""

    in_channels = 1

    def __init__(self):
        digits = Digits()
        self.train = Views(digits.train.inputs)
        self.val, self.test = (TensorDataset(part.inputs, part.targets) for part in (digits.val, digits.test))
