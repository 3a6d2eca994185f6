"""What several tests share: the command line called in this process, and states compared bit for bit."""

import csv
import logging
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from runner.commands.main import main

REPOSITORY = Path(__file__).resolve().parents[1]

# 3 epochs of 3 steps: dropout, augmentation, Adam, a schedule, accumulation, an odd last batch.
TINY = (
    "model=mlp", "model.hidden=[8]", "model.dropout=0.3", "data=own", "data._target_=tests.own.NoisyPoints",
    "learner=own", "learner._target_=tests.own.StoppableClassification", "optimizer=adam", "epochs=3",
    "batch_size=8", "accumulate=2", "log_every=2", "tracker=csv", "checkpoint.keep_last=100",
)  # fmt: skip


@dataclass
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str


@contextmanager
def untouched_logging() -> Iterator[None]:
    """Close what a command logs to, and let the root logger be as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        for handler in root.handlers:
            if handler not in handlers:
                handler.close()
        root.handlers[:], root.level = handlers, level


def cli(capsys: pytest.CaptureFixture[str], *words: str, program: Path = REPOSITORY / "run.py") -> Outcome:
    """Call `run.py` with these words in this process, in the current directory."""
    capsys.readouterr()
    former, sys.argv = sys.argv, [str(program), *words]
    try:
        with untouched_logging(), pytest.raises(SystemExit) as exit_:
            main()
    finally:
        sys.argv = former
    captured = capsys.readouterr()
    assert isinstance(exit_.value.code, int)
    return Outcome(exit_.value.code, captured.out, captured.err)


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
