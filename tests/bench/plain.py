"""The plain expert loop that the benchmarks compare with: one script, no framework."""

import sys
import time
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from runner.data.idx_format import read_idx

FASHION = "/usr/share/datasets/fashion-mnist/"


class LeNet(nn.Module):
    """The tutorial's network for 1x32x32."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x: torch.Tensor) -> Any:
        """Return the logits."""
        x = functional.max_pool2d(functional.relu(self.conv1(x)), 2)
        x = functional.max_pool2d(functional.relu(self.conv2(x)), 2)
        x = functional.relu(self.fc2(functional.relu(self.fc1(torch.flatten(x, 1)))))
        return self.fc3(x)


def data(kind: str) -> TensorDataset:
    """Return Fashion-MNIST, padded to 32x32, or random points of 16 features."""
    if kind == "tiny":
        return TensorDataset(torch.randn(20000, 16), torch.randint(10, (20000,)))
    from pathlib import Path

    images = read_idx(Path(FASHION + "train-images-idx3-ubyte.gz"))[:-5000]
    labels = read_idx(Path(FASHION + "train-labels-idx1-ubyte.gz"))[:-5000]
    return TensorDataset(functional.pad(images, [2] * 4).unsqueeze(1).float() / 127.5 - 1, labels.long())


def train(kind: str, steps: int, log_every: int = 50) -> float:
    """Train with TensorBoard scalars every `log_every` steps; return seconds per step after ten of them."""
    from torch.utils.tensorboard import SummaryWriter

    torch.manual_seed(0)
    model: nn.Module = LeNet() if kind == "lenet" else nn.Sequential(nn.Flatten(), nn.Linear(16, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.002)
    loader = DataLoader(data(kind), batch_size=64, shuffle=True)
    writer = SummaryWriter("outputs/plain")  # type: ignore[no-untyped-call]
    step, total = 0, 0.0
    while True:
        for inputs, targets in loader:
            if step == 10:
                began = time.perf_counter()
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
            total += loss.item()
            step += 1
            if step == 1 and steps == 1:
                return 0.0
            if step % log_every == 0:
                writer.add_scalar("train/loss", total / log_every, step)  # type: ignore[no-untyped-call]
                total = 0.0
            if step == steps:
                return (time.perf_counter() - began) / (steps - 10)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(train(sys.argv[1], int(sys.argv[2])))
