"""What every test may ask for."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import torch

from runner.checkpoint.format import compose_entries
from runner.checkpoint.writer.image import Image
from runner.files import Disk
from tests.support.fork_server import Warm, warm

ROOT = Path(__file__).resolve().parents[1]
os.environ["RUNNER_TRUST"] = "tests"  # where the classes are that runs of the tests are made of


def pytest_configure() -> None:
    """Let signals do what they usually do, also where the tests were started by `nohup` or in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


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
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """A process that starts `run.py` without the import of torch."""
    with warm(tmp_path_factory.mktemp("warm")) as process:
        yield process
