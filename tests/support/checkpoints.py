"""Small checkpoints, as entries and as files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch

from runner.checkpoint.best import Standing
from runner.checkpoint.format import FORMAT, VERSION, compose_entries
from runner.checkpoint.listing import StepFile
from runner.checkpoint.writer.image import Image
from runner.files import Disk
from runner.models import Mlp


def small_entries(**changes: Any) -> dict[str, Any]:
    """Return the entries of a small checkpoint, with `changes` on top."""
    torch.manual_seed(0)
    described = {
        "epoch": 1,
        "global_step": 7,
        "loss": 0.5,
        "metrics": {"val/loss": 0.25},
        "config": "seed: 0\n",
    }
    return {**compose_entries({"model": torch.nn.Linear(3, 2)}, described), **changes}


def write_entries(file: BinaryIO, entries: Mapping[str, Any]) -> None:
    """Write a checkpoint to an open file, by memory of its own."""
    image = Image()
    image.take(entries)
    image.write(file, Disk())


def entries_at(step: int, metric: float | None = None) -> dict[str, Any]:
    """Return the entries of a small checkpoint, all of whose weights are its step."""
    metrics = {} if metric is None else {"val/loss": metric}
    weights = {"weight": torch.full((4,), float(step))}
    fixed = {"epoch": 0, "loss": 0.0, "config": "", "format": FORMAT, "version": VERSION}
    return {**fixed, "global_step": step, "metrics": metrics, "model_state_dict": weights}


def behind(step: int) -> Standing:
    """Return the standing of a state of this step, behind all files of it."""
    return Standing(StepFile(step, 99, Path()), None)


def tutorial_file(path: Path, **changes: Any) -> tuple[Path, Mlp]:
    """Write a general checkpoint as the tutorial does, after two epochs with AdamW."""
    torch.manual_seed(5)
    model = Mlp(in_features=4, num_classes=3, hidden=[5])
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.03)
    model(torch.randn(8, 4)).sum().backward()
    optimizer.step()
    content = {
        "epoch": 1,
        "model_state_dict": model.state_dict(),
        "optimizer_state_dict": optimizer.state_dict(),
        "loss": torch.tensor(0.4),
    }
    torch.save({**content, **changes}, path)
    return path, model
