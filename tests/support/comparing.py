"""Checkpoints and runs read with plain tools, and compared bit for bit."""

import csv
import math
from pathlib import Path
from typing import Any

import torch


def entries_of(path: Path) -> dict[str, Any]:
    """Read a checkpoint with plain PyTorch."""
    entries = torch.load(path, weights_only=True)
    assert isinstance(entries, dict)
    return entries


def difference(one: Any, other: Any, place: str = "") -> str | None:
    """Return the first place where two states are not equal bit for bit; times are exempt."""
    if place in (".progress_state_dict.seconds", ".created", ".environment", ".config"):
        return None
    if isinstance(one, torch.Tensor):
        return None if isinstance(other, torch.Tensor) and torch.equal(one, other) else place
    if type(one) is not type(other):
        return place
    if isinstance(one, dict):
        if list(one) != list(other):
            return place
        return next((d for k in one if (d := difference(one[k], other[k], f"{place}.{k}"))), None)
    if isinstance(one, (list, tuple)):
        pairs = enumerate(zip(one, other, strict=False))
        found = next((d for i, (a, b) in pairs if (d := difference(a, b, f"{place}[{i}]"))), None)
        return found or (None if len(one) == len(other) else place)
    same = one == other or (isinstance(one, float) and math.isnan(one) and math.isnan(other))
    return None if same else place


def rows_of(run: Path) -> list[dict[str, str]]:
    """Return the rows of metrics.csv without the times."""
    with open(run / "metrics.csv", newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def assert_same_run(one: Path, other: Path) -> None:
    """Assert that two runs ended in the same bits and left the same metrics."""
    assert difference(entries_of(one / "last.tar"), entries_of(other / "last.tar")) is None
    assert difference(entries_of(one / "best.tar"), entries_of(other / "best.tar")) is None
    assert rows_of(one) == rows_of(other)
