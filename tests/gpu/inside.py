"""What is measured inside of one process: `python -m tests.gpu.inside save|ours|plain|memory DEVICE words...`.

The last word that it prints is the figure.
"""

import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from runner.models import ResNet
from runner.progress import Progress

REPOSITORY = Path(__file__).resolve().parents[2]
CLASSES, SHAPE = 10, (3, 32, 32)
_FIRST = 10  # steps that are not timed


def wait(device: str) -> None:
    """Return once the device has done what was asked of it."""
    if device == "cuda":
        torch.cuda.synchronize()


def seconds(action: Callable[[], object], device: str) -> float:
    """Return how long an action takes on an idle device."""
    wait(device)
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def median(values: list[float]) -> float:
    """Return the upper median."""
    return sorted(values)[len(values) // 2]


def save(device: str, megabytes: str, rounds: str) -> float:
    """Return how long an asynchronous save blocks, as a ratio to `torch.save` into a file."""
    from runner.checkpoint.writer.background import Background
    from tests.bench.checkpoint import Steps, saving

    width = int((int(megabytes) * 1e6 / 12 / 10) ** 0.5)  # ten square layers; weights and two moments of 4 bytes
    model = nn.Sequential(*(nn.Linear(width, width) for _ in range(10))).to(device)
    optimizer = torch.optim.Adam(model.named_parameters(), lr=1e-4)
    parts: dict[str, Any] = {"model": model, "optimizer": optimizer}

    def step() -> None:
        optimizer.zero_grad()
        model(torch.ones(32, width, device=device)).square().mean().backward()
        optimizer.step()

    def plain() -> None:
        with open("plain.pt", "wb") as file:
            torch.save({name: part.state_dict() for name, part in parts.items()}, file)

    pairs = []
    with tempfile.TemporaryDirectory(dir=".") as folder:
        steps = Steps(saving(Path(folder), Background()), parts)
        step()
        steps.whole()  # the first one lays out its memory
        for _ in range(int(rounds)):
            step()
            ours = seconds(steps.save, device)
            steps.to.settle()
            pairs.append((ours, seconds(plain, device)))
    ours, its = (median([*column]) for column in zip(*pairs, strict=True))
    print(f"blocked {ours * 1e3:.2f} ms, torch.save {its * 1e3:.2f} ms")
    return ours / its


def trained(words: list[str], after: Callable[[int], object]) -> None:
    """Run `run.py` in this process, with `after` called after each step with its number."""
    from runner.commands.main import main

    advance: Any = Progress.advance

    def advanced(self: Progress, epoch_ended: bool) -> None:
        advance(self, epoch_ended)
        after(self.global_step)

    Progress.advance = advanced  # type: ignore[method-assign]
    sys.argv = [str(REPOSITORY / "run.py"), "tracker=csv", *words]
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise


def ours(device: str, steps: str, batch_size: str) -> float:
    """Return the seconds of a step of `run.py`."""
    last, marks = int(steps) + _FIRST, []

    def after(step: int) -> None:
        if step in (_FIRST, last):
            wait(device)
            marks.append(time.perf_counter())

    size = (last + 1) * int(batch_size)  # no epoch ends
    words = ["model=resnet", "data=synthetic", f"data.shape={list(SHAPE)}".replace(" ", ""), f"data.size={size}"]
    words += [f"batch_size={batch_size}", f"max_steps={last}", f"device={device}", "checkpoint=off", "strategy=single"]
    trained([*words, f"eval_every={last + 1}", "log_every=50"], after)
    return (marks[1] - marks[0]) / int(steps)


def plain(device: str, steps: str, batch_size: str) -> float:
    """Return the seconds of a step of a plain loop."""
    last, size = int(steps) + _FIRST, (int(steps) + _FIRST + 1) * int(batch_size)
    data = TensorDataset(torch.randn(size, *SHAPE), torch.randint(CLASSES, (size,)))
    loader = DataLoader(data, int(batch_size), shuffle=True, pin_memory=device == "cuda")
    model = ResNet(SHAPE[0], CLASSES).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.002)
    total = torch.zeros((), device=device)
    for step, (inputs, targets) in enumerate(loader):
        if step == _FIRST:
            wait(device)
            began = time.perf_counter()
        optimizer.zero_grad()
        outputs = model(inputs.to(device, non_blocking=True))
        loss = functional.cross_entropy(outputs, targets.to(device, non_blocking=True))
        loss.backward()
        optimizer.step()
        total += loss.detach()
        if step % 50 == 49:
            print(step, total.item() / 50)
            total.zero_()
        if step + 1 == last:
            break
    wait(device)
    return (time.perf_counter() - began) / int(steps)


def memory(device: str, *words: str) -> float:
    """Return the peak of the device's memory while `run.py` runs; of the process's on a CPU."""
    trained([f"device={device}", *words], lambda step: None)
    if device == "cuda":
        return float(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


if __name__ == "__main__":
    os.makedirs("outputs", exist_ok=True)
    measures: dict[str, Callable[..., float]] = {"save": save, "ours": ours, "plain": plain, "memory": memory}
    print(measures[sys.argv[1]](*sys.argv[2:]))
