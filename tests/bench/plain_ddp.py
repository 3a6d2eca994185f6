"""The plain script of DistributedDataParallel that the benchmarks compare with; torchrun starts it."""

import os
import sys
import time
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from runner.models import ResNet

FORMS: dict[str, tuple[list[int], int, int]] = {"resnet": ([3, 32, 32], 6400, 128), "tiny": ([16], 300_000, 64)}
"""The shape of a sample, their number, and the samples of a step over all processes, for each kind."""


def model_of(kind: str) -> nn.Module:
    """Return the model of a kind, on the CPU."""
    return ResNet(3, 10) if kind == "resnet" else nn.Sequential(nn.Flatten(), nn.Linear(16, 10))


def train(kind: str, steps: int) -> float:
    """Train as plain.py does, in every process; return seconds per step after ten of them, 0 for a single step."""
    from torch.utils.tensorboard import SummaryWriter

    dist.init_process_group("gloo")
    torch.manual_seed(0)
    shape, size, batch_size = FORMS[kind]
    data = TensorDataset(torch.randn(size, *shape), torch.randint(10, (size,)))
    model: Any = DistributedDataParallel(model_of(kind))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.002)
    sampler: Any = DistributedSampler(data)
    loader = DataLoader(data, batch_size // dist.get_world_size(), sampler=sampler)
    writer = SummaryWriter("outputs/plain") if dist.get_rank() == 0 else None  # type: ignore[no-untyped-call]
    total = 0.0
    for step, (inputs, targets) in enumerate(loader):
        if step == 10:
            began = time.perf_counter()
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()
        total += loss.item()
        if step == 0 and dist.get_rank() == 0:
            print("first step at", time.perf_counter())
        if step + 1 == steps:
            return 0.0 if steps == 1 else (time.perf_counter() - began) / (steps - 10)
        if writer is not None and (step + 1) % 50 == 0:
            writer.add_scalar("train/loss", total / 50, step)  # type: ignore[no-untyped-call]
            total = 0.0
    raise ValueError(f"{kind} has fewer than {steps} steps an epoch")


if __name__ == "__main__":
    torch.set_num_threads(1)
    found = train(sys.argv[1], int(sys.argv[2]))
    if os.environ["RANK"] == "0":
        print("seconds per step", found)
    dist.destroy_process_group()
