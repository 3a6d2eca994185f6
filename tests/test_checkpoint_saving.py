"""What training is told of saves that are written meanwhile: nothing is torn, no failure is lost."""

import errno
import logging
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from runner.checkpoint.format import read_entries
from runner.checkpoint.listing import steps
from runner.checkpoint.policies import KeepLast, KeepPinned, Mode
from runner.checkpoint.saving import StoreSaving, Tolerance
from runner.checkpoint.store import CheckpointStore
from runner.checkpoint.writer.background import AtOnce, Background, Worker
from runner.errors import NonFinite, SaveFailed
from runner.files import Disk
from tests.support.comparing import difference, entries_of
from tests.support.disk import CountingDisk, Fault, system_error

DESCRIPTION: dict[str, Any] = {"config": "", "environment": {}}


def waiting(gate: threading.Event) -> Fault:
    """Let every file wait until the gate is opened."""

    def wait(name: str, number: int) -> None:
        assert name != "put" or gate.wait(10)

    return wait


def full(files: int) -> CountingDisk:
    """Return a disk that has no space for its first files."""
    left = iter(range(files))
    return CountingDisk(
        lambda name, number: system_error(errno.ENOSPC) if name == "put" and next(left, None) is not None else None
    )


def saving(run: Path, worker: Worker, *, disk: Disk | None = None, limit: int = 0) -> StoreSaving:
    """Return a saving into a prepared store."""
    keep = (KeepLast(2), KeepPinned())
    store = CheckpointStore(run, keep=keep, monitor="val/loss", mode=Mode.min, disk=disk)
    store.prepare()
    return StoreSaving(store, (), DESCRIPTION, worker=worker, tolerance=Tolerance(limit))


def save(to: StoreSaving, model: torch.nn.Module, step: int) -> None:
    """Save a model at a step."""
    to.save({"model": model}, epoch=0, global_step=step, loss=0.0, metrics={})


def filled(model: torch.nn.Linear, value: float) -> torch.nn.Linear:
    """Return the model with every weight `value`."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)
    return model


def test_a_file_holds_the_state_of_its_boundary_whatever_training_does_meanwhile(tmp_path: Path) -> None:
    gate, model = threading.Event(), torch.nn.Linear(4, 3)
    behind = saving(tmp_path, Background(), disk=CountingDisk(waiting(gate)))
    save(behind, filled(model, 1.0), 1)
    filled(model, 2.0)
    assert steps(tmp_path) == {}
    gate.set()
    behind.settle()
    found = read_entries(tmp_path / "last.tar")["model_state_dict"]
    assert torch.equal(found["weight"], torch.ones(3, 4)) and torch.equal(found["bias"], torch.ones(3))


def test_both_ways_of_saving_write_the_same(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    for name, worker in (("now", AtOnce()), ("meanwhile", Background())):
        to = saving(tmp_path / name, worker)
        save(to, model, 3)
        to.settle()
    assert difference(entries_of(tmp_path / "now/last.tar"), entries_of(tmp_path / "meanwhile/last.tar")) is None


def test_a_save_waits_for_the_former_one(tmp_path: Path) -> None:
    gate, model = threading.Event(), torch.nn.Linear(2, 2)
    behind = saving(tmp_path, Background(), disk=CountingDisk(waiting(gate)))
    save(behind, filled(model, 1.0), 1)
    threading.Timer(0.2, gate.set).start()
    save(behind, filled(model, 2.0), 2)
    assert list(steps(tmp_path)) == [1]
    behind.settle()
    assert sorted(steps(tmp_path)) == [1, 2]


@pytest.mark.parametrize("raising", ["the next save", "settle"])
def test_a_failure_in_the_background_surfaces_once(tmp_path: Path, raising: str) -> None:
    behind, model = saving(tmp_path, Background(), disk=full(1)), torch.nn.Linear(2, 2)
    save(behind, model, 1)
    with pytest.raises(SaveFailed, match="No space left"):
        save(behind, model, 2) if raising == "the next save" else behind.settle()
    save(behind, model, 3)
    behind.settle()
    assert list(steps(tmp_path)) == [3]


@pytest.mark.parametrize("worker", [AtOnce, Background])
def test_failures_are_borne_up_to_the_limit_in_a_row(
    tmp_path: Path, worker: type[Worker], caplog: pytest.LogCaptureFixture
) -> None:
    disk, model = full(2), torch.nn.Linear(2, 2)
    tolerant = saving(tmp_path, worker(), disk=disk, limit=2)
    with caplog.at_level(logging.WARNING, "runner"):
        for step in (1, 2, 3):
            save(tolerant, model, step)
        tolerant.settle()
    assert list(steps(tmp_path)) == [3] and "failure 2 of at most 2 in a row" in caplog.text
    disk.fault = full(3).fault
    with pytest.raises(SaveFailed):
        for step in (4, 5, 6, 7):
            save(tolerant, model, step)


def test_a_tolerated_failure_is_still_one_when_nothing_follows_it(tmp_path: Path) -> None:
    tolerant = saving(tmp_path, Background(), disk=full(1), limit=5)
    save(tolerant, torch.nn.Linear(2, 2), 1)
    with pytest.raises(SaveFailed, match="No space left"):
        tolerant.settle()
    tolerant.settle()


@pytest.mark.parametrize("worker", [AtOnce, Background])
def test_what_is_not_finite_is_never_written(tmp_path: Path, worker: type[Worker]) -> None:
    to, model = saving(tmp_path, worker()), torch.nn.Linear(300, 200)
    with torch.no_grad():
        model.weight[199, 299] = float("nan")
    with pytest.raises(NonFinite, match=r"model_state_dict\.weight became NaN or infinite by step 5"):
        save(to, model, 5)
        to.settle()
    assert steps(tmp_path) == {} and not (tmp_path / "last.tar").exists()


def test_a_pinned_checkpoint_stays(tmp_path: Path) -> None:
    to, model = saving(tmp_path, AtOnce()), torch.nn.Linear(2, 2)
    save(to, model, 1)
    (tmp_path / "checkpoints/step_0000000001.pin").touch()
    for step in range(2, 6):
        save(to, model, step)
    assert sorted(steps(tmp_path)) == [1, 4, 5]
