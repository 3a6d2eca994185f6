"""The command line, called in this process."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from runner.commands.main import main
from tests.support import REPOSITORY

# 3 epochs of 3 steps: dropout, augmentation, Adam, a schedule, accumulation, an odd last batch.
TINY = (
    "model=mlp", "model.hidden=[8]", "model.dropout=0.3", "data=own", "data._target_=tests.own.points.NoisyPoints",
    "learner=own", "learner._target_=tests.own.learners.StoppableClassification", "optimizer=adam", "epochs=3",
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
