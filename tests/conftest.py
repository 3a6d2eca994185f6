"""What every test may ask for."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from runner.__main__ import main
from tests.own.nonfinite import PoisonedOnce
from tests.support.checkpoints import small_entries, write_entries
from tests.support.command_line import Outcome
from tests.support.fork_server import ForkServer, fork_server
from tests.support.ranks import Jobs, kill

os.environ["RUNNER_TRUST"] = "tests"  # where the classes are that runs of the tests are made of
os.environ["OMP_NUM_THREADS"] = "1"  # of every process that a test starts; their results do not depend on the machine


def pytest_configure() -> None:
    """Let signals do what they usually do, also where the tests were started by `nohup` or in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    torch.set_num_threads(1)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def runs(work: Path) -> Path:
    """Where the runs of an empty directory will lie, which is the current one."""
    return work / "outputs"


@pytest.fixture
def unpoisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """No loss of this process has been poisoned yet."""
    monkeypatch.setattr(PoisonedOnce, "fired", False)


@pytest.fixture
def entries() -> dict[str, Any]:
    """The entries of a small checkpoint of one linear layer."""
    return small_entries()


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a small checkpoint, with the given entries changed, and returns its path."""

    def write(name: str = "last.tar", **changes: Any) -> Path:
        path = tmp_path / name
        with open(path, "wb") as file:
            write_entries(file, small_entries(**changes))
        return path

    return write


@pytest.fixture
def checkpoint(written: Callable[..., Path]) -> Path:
    """A small checkpoint file."""
    return written()


@pytest.fixture(scope="session")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    """A process that starts `run.py` without the import of torch."""
    with fork_server(tmp_path_factory.mktemp("forks")) as process:
        yield process


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    """Jobs of torchrun, of which none outlives the test."""
    started: Jobs = []
    yield started
    for job in started:
        if job.poll() is None:
            kill(job)
        assert job.stdout
        job.stdout.close()


@pytest.fixture
def tool(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """A function that calls `python -m runner` with the given words in this process."""

    def call(*words: object) -> Outcome:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["runner", *map(str, words)])
        code = main()
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call
