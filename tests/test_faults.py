"""Whatever real file operation fails or is a process's last one, what was acknowledged stands and the next save works.

A library is preloaded that fails, or kills, at the n-th operation (create, write, fsync, rename, link,
unlink) of a process below its run directory, for every n.
"""

import errno
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from runner.checkpoint.format import read_entries
from runner.checkpoint.listing import BEST, LAST, newest_valid, steps
from tests.support.checkpoints import behind
from tests.support.comparing import assert_same_run
from tests.support.faults import METRICS, Fault, Outcome, compiled, drive, preloaded, store
from tests.support.fork_server import ForkServer, fork_server

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler for the library of faults")

FAILURES = [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG]
KILLED = -signal.SIGKILL


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="module", params=[8, pytest.param(9 << 18, marks=pytest.mark.slow)])
def elements(request: Any) -> int:
    """The size of the state; the larger goes past the page cache."""
    return int(request.param)


@pytest.fixture(scope="module")
def names(library: Path, elements: int, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The operations of a driver to which nothing happens."""
    folder = tmp_path_factory.mktemp("operations")
    run, log = folder / "run", folder / "log"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAULT_LOG", str(log))
        assert drive(library, [(run, Fault())], elements) == [Outcome([1, 2, 3, 4], [], 0)]
    return log.read_text().split()


def temporaries(run: Path) -> list[Path]:
    return list(run.rglob(".*.tmp-*"))


def step_of(path: Path) -> int:
    """Return the step of a whole checkpoint, all of whose content is of that step."""
    entries = read_entries(path)
    weight = entries["model_state_dict"]["weight"]
    assert torch.equal(weight, torch.full_like(weight, entries["global_step"]))
    return int(entries["global_step"])


def faults_of(run: Path, outcome: Outcome, fault: Fault, name: str) -> Iterator[str]:
    """Yield what is wrong with what a driver has left, whose operation `name` failed."""
    found, told = steps(run), outcome.acknowledged
    newest, passed_over = newest_valid(run) if run.exists() else (None, [])
    if passed_over:
        yield f"passed over {passed_over}"
    if max(found, default=0) < max(told, default=0):
        yield f"newest is {newest}"
    written = sorted({*told, *found})  # a save that failed late may have left a whole file
    best = sorted(written, key=lambda step: METRICS[step - 1])[:1]
    if lost := {*written[-2:], *best} - found.keys():
        yield f"lost {lost}"
    if any(step_of(path) != step for step, path in found.items()):
        yield "a file holds another step"
    if any(step_of(run / name) not in (*told, max(found)) for name in (LAST, BEST) if (run / name).exists()):
        yield "last or best is of no such step"
    if outcome.code == 0 and fault.repeat == "once" and name != "unlink" and temporaries(run):
        yield f"left {temporaries(run)}"
    if fault.what.isdigit() and fault.repeat == "once" and len(told) < len(METRICS) - 1:
        yield "more than the one save failed"
    for error in outcome.errors:
        if os.strerror(int(fault.what)) not in error or str(run) not in error or "MiB are free" not in error:
            yield f"said {error}"


def wrong(library: Path, tmp_path: Path, faults: list[Fault], names: list[str], elements: int) -> list[str]:
    """Return what is wrong after any of these faults, now or when the next process starts."""
    runs = [tmp_path / f"{fault.what}-{fault.repeat}" / str(fault.at) for fault in faults]
    for run in runs:
        run.mkdir(parents=True)
    outcomes = drive(library, zip(runs, faults, strict=True), elements)
    found = []
    for run, fault, outcome in zip(runs, faults, outcomes, strict=True):
        assert outcome.code == (0 if fault.what.isdigit() else KILLED), (fault, outcome)
        assert outcome.code or outcome.errors or names[fault.at - 1] in ("link", "unlink"), (fault, outcome)
        found += [
            f"{fault} ({names[fault.at - 1]}): {what}" for what in faults_of(run, outcome, fault, names[fault.at - 1])
        ]
        store(run).prepare(behind(max(steps(run), default=0)))
        found += [f"{fault}: {path} stays" for path in temporaries(run)]
        shutil.rmtree(run)
    return found


SAVE = ["create", "fsync", "rename", "fsync", *["link", "rename"] * 2, "fsync"]


def test_a_save_costs_no_more_operations_than_it_needs(names: list[str]) -> None:
    worse = [*SAVE[:6], "fsync", "unlink"]  # best.tar stays where it is
    assert [name for name in names if name != "write"] == ["fsync", *SAVE, *SAVE, *worse, *SAVE, "unlink"]
    assert names.count("write") <= 3 * len(METRICS)


@pytest.mark.parametrize("what", [str(errno.ENOSPC), "kill"])
def test_no_fault_at_any_operation_costs_what_was_acknowledged(
    library: Path, tmp_path: Path, names: list[str], elements: int, what: str
) -> None:
    stride = 1 if elements == 8 else 5
    faults = [Fault(at, what) for at in range(2, len(names) + 1, stride)]
    assert wrong(library, tmp_path, faults, names, elements) == []


@pytest.mark.slow
@pytest.mark.parametrize("repeat", ["once", "on"])
@pytest.mark.parametrize("what", [*(str(number) for number in FAILURES), "killed"])
def test_no_fault_of_any_kind_costs_what_was_acknowledged(
    library: Path, tmp_path: Path, names: list[str], elements: int, what: str, repeat: str
) -> None:
    stride = 1 if elements == 8 else 5  # of the larger a sample
    faults = [Fault(at, what, repeat) for at in range(2, len(names) + 1, stride)]
    assert wrong(library, tmp_path, faults, names, elements) == []


WORDS = (
    "model=mlp", "model.hidden=[8]", "data=synthetic", "data.shape=[4]", "data.size=32", "optimizer=adam",
    "max_steps=6", "batch_size=8", "log_every=2", "eval_every=1", "tracker=csv", "checkpoint=every_n_steps",
    "checkpoint.every_steps=2", "name=x", "resume=auto",
)  # fmt: skip
OPERATIONS = 140  # of the run above in its whole directory, about


@pytest.fixture(scope="module")
def faulty(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    """A process that starts `run.py` with the library of faults."""
    with fork_server(tmp_path_factory.mktemp("faulty"), LD_PRELOAD=preloaded(library)["LD_PRELOAD"]) as process:
        yield process


@pytest.mark.parametrize("what", [str(errno.ENOSPC), "kill"])
@pytest.mark.slow
def test_a_fault_in_any_file_of_a_run_is_one_sentence_and_the_same_command_ends_in_the_same_bits(
    faulty: ForkServer, tmp_path: Path, what: str
) -> None:
    assert faulty.run(tmp_path, *WORDS)[0] == 0
    for at in range(1, OPERATIONS, 8):
        work = tmp_path / str(at)
        work.mkdir()
        code, text = faulty.run(work, *WORDS, **Fault(at, what).environment(work / "outputs"))
        assert code in ((KILLED, 0) if what == "kill" else (0, 1, 2)), text
        assert "Traceback" not in text and "Logging error" not in text, text
        assert what == "kill" or "No space left on device" in text or code == 0, text
        code, text = faulty.run(work, *WORDS)
        assert code == 0, text
        assert_same_run(tmp_path / "outputs/x", work / "outputs/x")
        assert not temporaries(work / "outputs")
