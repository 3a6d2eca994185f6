"""The command line, called in this process, and the config that its words compose."""

import sys
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

import pytest

from runner.api.session import own_logging
from runner.commands.main import main
from runner.wiring.config.compose import checked, compose_config, hydra_session, register
from runner.wiring.schema import Config
from tests.support import REPOSITORY

RUN = REPOSITORY / "run.py"

DATA = ("data=synthetic", "data.shape=[4]", "data.classes=3", "data.size=32", "batch_size=16", "device=cpu")
MLP = ("model=mlp", "model.hidden=[5]")
SMALL = (*DATA, *MLP)  # two steps an epoch

# 3 epochs of 3 steps: dropout, augmentation, Adam, a schedule, accumulation, an odd last batch.
TINY = (
    "model=mlp", "model.hidden=[8]", "model.dropout=0.3", "data=own", "data._target_=tests.own.points.NoisyPoints",
    "learner=own", "learner._target_=tests.own.learners.StoppableClassification", "optimizer=adam", "epochs=3",
    "batch_size=8", "accumulate=2", "log_every=2", "tracker=csv", "checkpoint.keep_last=100",
)  # fmt: skip

# 3 epochs of 5 steps, in any of which a signal may arrive, evaluated and saved after each epoch, tested at the end.
SIGNALLED = (
    "model=own", "model._target_=tests.own.signalled.Heavy", "data=own", "data._target_=tests.own.signalled.Data",
    "learner=own", "learner._target_=tests.own.signalled.Learner", "optimizer=adam", "epochs=3", "batch_size=8",
    "log_every=2", "tracker=csv", "checkpoint.keep_last=100", "name=x", "resume=auto",
)  # fmt: skip


@dataclass
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str


def cli(capsys: pytest.CaptureFixture[str], *words: str, program: Path = RUN) -> Outcome:
    """Call `run.py` with these words in this process, in the current directory."""
    capsys.readouterr()
    code = _call(program, *words)
    captured = capsys.readouterr()
    return Outcome(code, captured.out, captured.err)


def trained_in(folder: Path, *words: str, program: Path = RUN) -> Path:
    """Call `run.py` with these words in a folder, where it must succeed; return the folder."""
    with chdir(folder):
        assert _call(program, *words) == 0
    return folder


def _call(program: Path, *words: str) -> int:
    former, sys.argv = sys.argv, [str(program), *words]
    try:
        with own_logging(), pytest.raises(SystemExit) as exit_:
            main()
    finally:
        sys.argv = former
    assert isinstance(exit_.value.code, int)
    return exit_.value.code


def config_of(*words: str) -> Config:
    """Return the checked config of these words."""
    register()
    with hydra_session(None):
        return checked(compose_config(words))
