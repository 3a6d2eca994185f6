"""A balanced order: equally many samples of each class per epoch."""

import torch
from torch import Generator, Tensor

from runner.errors import ConfigError

BALANCES = ("none", "classes")


class Balanced:
    """An order with as many samples as the data, the same number of each class up to one.

    The samples of a small class repeat evenly; those of a large one are another part of it in each epoch.
    """

    def __init__(self, targets: Tensor) -> None:
        """Balance the classes that occur in `targets`: (samples,) int64."""
        self._members = [(targets == number).nonzero().squeeze(1) for number in sorted(set(targets.tolist()))]
        self._size = len(targets)

    def __call__(self, epoch: int, generator: Generator) -> Tensor:
        """Return the indices of an epoch, (samples,) int64."""
        classes = len(self._members)
        larger = torch.randperm(classes, generator=generator)[: self._size % classes].tolist()
        chosen = [
            _drawn(members, self._size // classes + (number in larger), generator)
            for number, members in enumerate(self._members)
        ]
        return torch.cat(chosen)[torch.randperm(self._size, generator=generator)]


def _drawn(members: Tensor, count: int, generator: Generator) -> Tensor:
    """Return `count` of the members, each as often as any other up to one."""
    turns = [torch.randperm(len(members), generator=generator) for _ in range(-(-count // len(members)))]
    return members[torch.cat(turns)[:count]] if turns else members[:0]


def balanced(balance: str, targets: Tensor) -> Balanced | None:
    """Return the order of `data.balance`, None for the usual one.

    Raises:
        ConfigError: an unknown balance, or targets (samples, ...) that are no classes.
    """
    if balance not in BALANCES:
        raise ConfigError(f"data.balance={balance} is unknown; choose one of {', '.join(BALANCES)}")
    if balance == "none":
        return None
    if targets.is_floating_point():
        raise ConfigError("data.balance=classes is for classes, but the targets are float numbers; leave it out")
    return Balanced(targets)
