"""The global generators: seeded for the user's data sets, and restored afterwards."""

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def mixed(*numbers: int) -> int:
    """Return a seed made from these numbers, the same in every process."""
    return hash(numbers) % 2**63


def seed_generators(*numbers: int) -> None:
    """Seed `random`, torch and NumPy from these numbers."""
    seed = mixed(*numbers)
    random.seed(seed)
    torch.default_generator.manual_seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed % 2**32)


@contextmanager
def borrowed_generators() -> Iterator[None]:
    """Restore the global generators afterwards: in the training process they belong to the models."""
    numpy = sys.modules.get("numpy")
    python, torch_state = random.getstate(), torch.default_generator.get_state()
    numpy_state = numpy.random.get_state() if numpy else None
    try:
        yield
    finally:
        random.setstate(python)
        torch.default_generator.set_state(torch_state)
        if numpy:
            numpy.random.set_state(numpy_state)
