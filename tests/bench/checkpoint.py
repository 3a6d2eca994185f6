"""What a checkpoint costs, as ratios to plain PyTorch and to the raw disk: `python -m tests.bench.checkpoint [MB]`."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from runner.checkpoint.format import read_entries, restore
from runner.checkpoint.policies import KeepLast, Mode
from runner.checkpoint.saving import StoreSaving, Tolerance
from runner.checkpoint.store import CheckpointStore
from runner.checkpoint.writer.background import AtOnce, Background, Worker

ROUNDS = 7
DESCRIPTION: dict[str, Any] = {"config": "", "environment": {}}


class Trained:
    """A network with Adam, whose state has about so many megabytes, and one step behind it."""

    def __init__(self, megabytes: int) -> None:
        torch.manual_seed(0)
        width = int((megabytes * 1e6 / 12 / 10) ** 0.5)  # ten square layers; weights and two moments of 4 bytes
        self.model = nn.Sequential(*(nn.Linear(width, width) for _ in range(10)))
        self.optimizer = torch.optim.Adam(self.model.named_parameters(), lr=1e-4)
        self.inputs = torch.randn(32, width)
        self.step()

    @property
    def parts(self) -> dict[str, Any]:
        """What is saved."""
        return {"model": self.model, "optimizer": self.optimizer}

    def step(self) -> None:
        """Take one step."""
        self.optimizer.zero_grad()
        self.model(self.inputs).square().mean().backward()
        self.optimizer.step()

    def plain(self) -> dict[str, Any]:
        """Return the tutorial's dictionary."""
        return {f"{name}_state_dict": part.state_dict() for name, part in self.parts.items()}


class Small:
    """Five thousand tensors of sixteen numbers."""

    def __init__(self) -> None:
        self.tensors = {f"layer.{index}": torch.randn(16) for index in range(5000)}

    def state_dict(self) -> dict[str, Any]:
        """Return them."""
        return self.tensors


def saving(folder: Path, worker: Worker) -> StoreSaving:
    """Return a saving into a fresh store."""
    store = CheckpointStore(folder, keep=(KeepLast(2),), monitor="val/loss", mode=Mode.min)
    store.prepare()
    return StoreSaving(store, (), DESCRIPTION, worker=worker, tolerance=Tolerance(0))


class Steps:
    """Saves under one step number after the other."""

    def __init__(self, to: StoreSaving, parts: dict[str, Any]) -> None:
        self.to, self.parts, self.step = to, parts, 0

    def save(self) -> None:
        """Take a checkpoint."""
        self.step += 1
        self.to.save(self.parts, epoch=0, global_step=self.step, loss=0.0, metrics={})

    def whole(self) -> None:
        """Save, and wait until it is safe."""
        self.save()
        self.to.settle()


def plain_save(content: Any, path: Path) -> None:
    """Do what a careful script does."""
    with open(path, "wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())


def raw_write(content: bytes, path: Path) -> None:
    """Bring so many bytes to the disk."""
    with open(path, "wb", buffering=0) as file:
        view = memoryview(content)
        while view:
            view = view[file.write(view[: 16 << 20]) :]
        os.fsync(file.fileno())


def seconds(action: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Return how long an action takes by a clock."""
    began = clock()
    action()
    return clock() - began


def compared(
    name: str, ours: Callable[[], float], other: Callable[[], float], limit: str, rounds: int = ROUNDS
) -> None:
    """Print the ratio of two medians, measured in turns."""
    pairs = []
    for _ in range(rounds):
        os.sync()
        one = ours()
        os.sync()
        pairs.append((one, other()))
    mine, its = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"{name}: {mine / its:.2f} ({mine * 1e3:.1f} ms to {its * 1e3:.1f} ms); {limit}", flush=True)


def blocked(trained: Trained, steps: Steps) -> None:
    """How long training waits, beside a copy of the same bytes into memory that is warm."""
    size = sum(t.nbytes for t in trained.model.state_dict().values()) * 3
    source, target = torch.ones(size, dtype=torch.uint8), torch.ones(size, dtype=torch.uint8)

    def wait() -> float:
        taken = seconds(steps.save)
        steps.to.settle()
        return taken

    steps.whole()
    compared(
        "blocked per save, to memmove", wait, lambda: seconds(lambda: target.copy_(source)), "at most 1.5, aim 1.2"
    )


def lost(trained: Trained, steps: Steps, folder: Path) -> None:
    """Wall time that a save costs a training which goes on."""
    each = statistics.median(seconds(trained.step) for _ in range(10))
    count = max(4, int(3.0 / each))  # longer than a save takes

    def training(save: Callable[[], object]) -> float:
        def run() -> None:
            for index in range(count):
                if index == 0:
                    save()
                trained.step()

        return seconds(run)

    def extra() -> float:
        without, with_ = training(lambda: None), training(steps.save)
        steps.to.settle()
        return with_ - without

    other = lambda: seconds(lambda: plain_save(trained.plain(), folder / "plain.pt"))  # noqa: E731
    compared(
        "wall time lost per save, to torch.save + fsync", extra, other, "at most 0.3", rounds=9 if each < 0.2 else 5
    )


def whole(trained: Trained, steps: Steps, folder: Path) -> None:
    """Processor time, throughput and loading."""
    plain = folder / "plain.pt"
    cpu = time.process_time
    compared(
        "CPU of a save, to torch.save",
        lambda: seconds(steps.whole, cpu),
        lambda: seconds(lambda: plain_save(trained.plain(), plain), cpu),
        "at most 1.4, aim 0.6",
    )
    content = bytes((folder / "last.tar").stat().st_size)
    compared(
        "throughput, raw write + fsync to a save",
        lambda: seconds(lambda: raw_write(content, folder / "raw")),
        lambda: seconds(steps.whole),
        "at least 0.5, aim 1.0",
    )
    plain_save(trained.plain(), plain)

    def verified() -> None:
        restore(trained.parts, read_entries(folder / "last.tar"), folder / "last.tar")

    def unverified() -> None:
        found = torch.load(plain, weights_only=True)
        trained.model.load_state_dict(found["model_state_dict"])
        trained.optimizer.load_state_dict(found["optimizer_state_dict"])

    limit = "at most 1.3, aim 0.8"
    compared("verified load, to torch.load", lambda: seconds(verified), lambda: seconds(unverified), limit)


def throughput(trained: Trained, steps: Steps) -> None:
    """Training with a checkpoint every ten seconds, beside training without one, in turns of twenty seconds."""
    rates: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(8):
        saves, began, done = bool(turn % 2), time.perf_counter(), 0
        due = began + 5
        while (now := time.perf_counter()) < began + 20:
            if saves and now >= due:
                steps.save()
                due += 10
            trained.step()
            done += 1
        steps.to.settle()
        rates[saves].append(done / (time.perf_counter() - began))
    ratio = statistics.median(rates[True]) / statistics.median(rates[False])
    print(f"training with a save every 10 s, to none: {ratio:.3f}; at least 0.98", flush=True)


MEMORY = """
import re, sys, tempfile
from pathlib import Path
from tests.bench.checkpoint import *

def resident(kind):
    return int(re.search(kind + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

torch.set_num_threads(1)
with tempfile.TemporaryDirectory() as folder:
    trained = Trained(int(sys.argv[1]))
    steps = Steps(saving(Path(folder), Background()), trained.parts)
    for _ in range(3):
        trained.step()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = resident("VmRSS")
    for _ in range(3):
        steps.whole()
    extra = resident("VmHWM") - before
    print(extra / (Path(folder) / "last.tar").stat().st_size)
"""


def memory(megabytes: int) -> None:
    """Peak memory of saving beyond that of training, in states."""
    command = [sys.executable, "-c", MEMORY, str(megabytes)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    print(f"peak extra memory, in states: {float(answer.stdout):.2f}; at most 1.1", flush=True)


def small(folder: Path) -> None:
    """A state of many small tensors."""
    parts = {"model": Small()}
    steps = Steps(saving(folder / "small", AtOnce()), parts)
    steps.whole()
    content = {"model_state_dict": parts["model"].tensors}
    compared(
        "5,000 small tensors, to torch.save",
        lambda: seconds(steps.whole),
        lambda: seconds(lambda: plain_save(content, folder / "small.pt")),
        "at most 1.0, aim 0.4",
    )


def main() -> None:
    """Measure and print each ratio, for a state of so many megabytes (134 by default)."""
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 134
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir="outputs") as name:
        folder = Path(name)
        trained = Trained(megabytes)
        steps = Steps(saving(folder, Background()), trained.parts)
        blocked(trained, steps)
        lost(trained, steps, folder)
        whole(trained, steps, folder)
        memory(megabytes)
        small(folder)
        if megabytes < 500:
            throughput(trained, steps)


if __name__ == "__main__":
    main()
