"""Saves in forks of a process that has torch, each with a fault of its own at one of its file operations."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from runner.checkpoint.policies import KeepBest, KeepLast, Mode
from runner.checkpoint.saving import StoreSaving, Tolerance
from runner.checkpoint.store import CheckpointStore
from runner.checkpoint.writer.background import Background
from runner.errors import SaveFailed
from tests.support import REPOSITORY
from tests.support.processes import environment

SOURCE = REPOSITORY / "tests/support/faults.c"
METRICS = (3.0, 2.0, 4.0, 1.0)  # of the saves of steps 1 to 4


@dataclass(frozen=True)
class Fault:
    """What happens at the `at`-th operation (1 is the first, 0 none): an errno's number, `kill` or `killed`."""

    at: int = 0
    what: str = "0"
    repeat: str = "once"

    def environment(self, directory: Path) -> dict[str, str]:
        """Return the variables that make it happen below a directory."""
        return {"FAULT": f"{self.at} {self.what} {self.repeat} {directory}"}


@dataclass(frozen=True)
class Outcome:
    """What became of a driver: the steps that were acknowledged, the errors, and its end (0, or a signal)."""

    acknowledged: list[int]
    errors: list[str]
    code: int


def compiled(folder: Path) -> Path:
    """Return the library to preload, made in `folder`."""
    library = folder / "faults.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, SOURCE, "-ldl"], check=True)
    return library


def preloaded(library: Path) -> dict[str, str]:
    """Return the variables of a process that has the library."""
    return environment(LD_PRELOAD=str(library))


def drive(library: Path, cases: Iterable[tuple[Path, Fault]], elements: int = 8) -> list[Outcome]:
    """Save four checkpoints of so many elements in each directory, under its fault; return what became of each."""
    orders = [{"run": str(run), "environment": fault.environment(run)} for run, fault in cases]
    process = subprocess.run(
        [sys.executable, "-m", "tests.support.faults", str(elements)],
        input=json.dumps(orders), env=preloaded(library), capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [Outcome(**json.loads(line)) for line in process.stdout.splitlines()]


def store(run: Path) -> CheckpointStore:
    """Return the store that the driver uses."""
    keep = (KeepLast(2), KeepBest(1, Mode.min))
    return CheckpointStore(run, keep=keep, monitor="val/loss", mode=Mode.min)


def _fork(order: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    """Save in a fork; return what it told before its end, and how it ended."""
    hearing, telling = os.pipe()
    if (pid := os.fork()) == 0:
        os.environ.update(order["environment"])
        _save(Path(order["run"]), state, telling)
        os._exit(0)
    os.close(telling)
    with os.fdopen(hearing) as ear:
        told = [json.loads(line) for line in ear]
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    said = {kind: [what for k, what in told if k == kind] for kind in ("acknowledged", "errors")}
    return {**said, "code": code}


def _save(run: Path, state: dict[str, Any], telling: int) -> None:
    def tell(kind: str, what: int | str) -> None:
        os.write(telling, (json.dumps([kind, what]) + "\n").encode())

    made = store(run)
    made.prepare()
    description = {"config": "", "environment": {}}
    saving = StoreSaving(made, (), description, worker=Background(), tolerance=Tolerance(0))
    model = torch.nn.ParameterDict(state)
    for step, metric in enumerate(METRICS, start=1):
        for parameter in model.parameters():
            parameter.data.fill_(step)
        try:
            saving.save({"model": model}, epoch=0, global_step=step, loss=0.0, metrics={"val/loss": metric})
            saving.settle()
        except SaveFailed as error:
            tell("errors", str(error))
        else:
            tell("acknowledged", step)


def serve() -> None:
    """Carry out the orders on stdin, a line of stdout each."""
    torch.set_num_threads(1)
    state = {"weight": torch.zeros(int(sys.argv[1]))}
    for order in json.load(sys.stdin):
        print(json.dumps(_fork(order, state)), flush=True)


if __name__ == "__main__":
    serve()
