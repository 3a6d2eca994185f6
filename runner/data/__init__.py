"""Data sets, and their exact and fast loading."""

from runner.data.digits_set import Digits
from runner.data.idx import FashionMnist, Mnist
from runner.data.synthetic import Synthetic

__all__ = ["Digits", "FashionMnist", "Mnist", "Synthetic"]
