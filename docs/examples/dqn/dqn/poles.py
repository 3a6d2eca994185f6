"""Cart-poles, many at a time: where each begins, and how it moves. Barto, Sutton and Anderson, 1983."""

import torch
from torch.utils.data import TensorDataset


def moved(state, action):
    """States (n, 4) after a push to the left (0) or right (1), 0.02 s later, and which poles still stand (n,)."""
    _, speed, angle, spin = state.unbind(1)
    pull = (20 * action - 10 + 0.05 * spin.square() * angle.sin()) / 1.1
    turn = (9.8 * angle.sin() - angle.cos() * pull) / (2 / 3 - 0.05 * angle.cos().square() / 1.1)
    push = pull - 0.05 * turn * angle.cos() / 1.1
    state = state + 0.02 * torch.stack((speed, push, spin, turn), 1)
    return state, (state[:, 0].abs() < 2.4) & (state[:, 2].abs() < 0.21)


class Starts:
    """Training, validation and test are states in which poles begin."""

    in_features, num_classes = 4, 2

    def __init__(self, count=1024):
        drawn = torch.Generator().manual_seed(0)
        states = (0.1 * torch.rand(number, 4, generator=drawn) - 0.05 for number in (64, 64, count))
        self.val, self.test, self.train = map(TensorDataset, states)
