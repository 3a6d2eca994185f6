"""What a warm start and an evaluation cost, as ratios to plain PyTorch: `python -m tests.bench.starting`."""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from runner.commands.checkpointed import ask, open_checkpoint
from runner.data.idx_format import read_idx
from runner.run.measuring import Subject, measure
from runner.wiring.config.compose import hydra_session, register
from runner.wiring.starts.warm_start import warm_start
from tests.bench.checkpoint import Trained, plain_save
from tests.bench.loop import REPOSITORY
from tests.bench.plain import FASHION, LeNet
from tests.support.command_line import config_of

ROUNDS = 15
BATCH_SIZE = 64


def seconds(action: Callable[[], object]) -> float:
    """Return how long an action takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def compared(name: str, ours: Callable[[], object], plain: Callable[[], object], limit: str) -> None:
    """Print the ratio of two medians, measured in turns, each first as often."""
    ours(), plain()
    turns: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(2 * ROUNDS):
        for mine in (True, False) if turn % 2 else (False, True):
            turns[mine].append(seconds(ours if mine else plain))
    mine, its = statistics.median(turns[True]), statistics.median(turns[False])
    print(f"{name}: {mine / its:.2f} ({mine * 1e3:.1f} ms to {its * 1e3:.1f} ms); {limit}", flush=True)


def starting(folder: Path) -> None:
    """A warm start from 11 million parameters with Adam's moments, every byte checked, beside plain loading."""
    trained = Trained(134)
    path = folder / "general.tar"
    plain_save({"epoch": 1, **trained.plain(), "loss": 0.5}, path)
    model: nn.Module = Trained(134).model
    options = config_of(f"warm_start.path={path}", "warm_start.strict=true", "warm_start.min_matched=1").warm_start

    def ours() -> None:
        warm_start({"model": model}, options)

    def plain() -> None:
        model.load_state_dict(torch.load(path, weights_only=True)["model_state_dict"])

    def mapped() -> None:
        model.load_state_dict(torch.load(path, weights_only=True, mmap=True)["model_state_dict"])

    size = path.stat().st_size / 1e6
    compared(f"warm start from {size:.0f} MB, to torch.load", ours, plain, "at most 1.3")
    compared(f"warm start from {size:.0f} MB, to a mapped torch.load, unchecked", ours, mapped, "no limit")


def subject(path: Path) -> Subject:
    """Return what `task=evaluate checkpoint_path=...` opens."""
    register()
    with hydra_session(None) as searchpath:
        asked = ask("evaluate", ["task=evaluate", f"checkpoint_path={path}", "device=cpu"], searchpath)
    return open_checkpoint(asked)[0]


def fashion_test() -> TensorDataset:
    """Return Fashion-MNIST's test split as a plain script holds it."""
    images, labels = (read_idx(Path(FASHION + f"t10k-{kind}-ubyte.gz")) for kind in ("images-idx3", "labels-idx1"))
    return TensorDataset(functional.pad(images, [2] * 4).unsqueeze(1).float() / 127.5 - 1, labels.long())


def plain_evaluation(path: Path, batches: Iterable[Any]) -> dict[str, float]:
    """Load a model and run it over the batches, as a plain script does."""
    model = LeNet()
    model.load_state_dict(torch.load(path, weights_only=True)["model_state_dict"])
    model.eval()
    loss, right, count = 0.0, 0, 0
    with torch.no_grad():
        for inputs, targets in batches:
            logits = model(inputs)
            loss += functional.cross_entropy(logits, targets).item() * len(targets)
            right += int((logits.argmax(1) == targets).sum())
            count += len(targets)
    return {"loss": loss / count, "accuracy": right / count}


def evaluating(folder: Path) -> None:
    """`task=evaluate` beyond its start-up, the checkpoint loaded and checked, beside a plain loop."""
    words = ["experiment=fashion_mnist", "max_steps=20", "tracker=none", "device=cpu", f"batch_size={BATCH_SIZE}"]
    command = [sys.executable, str(REPOSITORY / "run.py"), "name=x", *words]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    path = folder / "outputs/x/last.tar"
    opened, data = subject(path), fashion_test()
    loader = DataLoader(data, batch_size=BATCH_SIZE)
    slices = list(zip(*(tensor.split(BATCH_SIZE) for tensor in data.tensors), strict=True))
    mine, plain = measure(opened), plain_evaluation(path, loader)
    assert mine is not None and abs(mine["loss"] - plain["loss"]) < 1e-5 and mine["accuracy"] == plain["accuracy"]
    compared(
        "task=evaluate, to a plain loop over a DataLoader",
        lambda: measure(opened),
        lambda: plain_evaluation(path, loader),
        "at most 1.1",
    )
    compared(
        "task=evaluate, to a plain loop over batches that lie ready",
        lambda: measure(opened),
        lambda: plain_evaluation(path, slices),
        "no limit",
    )


def main() -> None:
    """Measure and print each ratio."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir="outputs") as name:
        starting(Path(name))
        evaluating(Path(name))


if __name__ == "__main__":
    main()
