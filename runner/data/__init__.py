"""Data sets, and their exact and fast loading."""

from runner.data.arrays import Arrays
from runner.data.digits_set import Digits
from runner.data.image_folder import ImageFolder
from runner.data.mnist import FashionMnist, Mnist
from runner.data.streams.combined import Mixed, Shuffled
from runner.data.synthetic import Synthetic

__all__ = ["Arrays", "Digits", "FashionMnist", "ImageFolder", "Mixed", "Mnist", "Shuffled", "Synthetic"]
