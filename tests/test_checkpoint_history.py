"""Any history of saving, killing, filling the disk, damaging, deleting and resuming keeps what was acknowledged."""

import errno
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from runner.checkpoint.format import read_entries
from runner.checkpoint.listing import BEST, LAST, newest_valid, steps
from runner.checkpoint.policies import KeepBest, KeepLast, KeepPinned, Mode, Retention
from runner.checkpoint.sharded.opening import verify
from runner.checkpoint.store import CheckpointStore
from runner.errors import CheckpointError, SaveFailed
from tests.support.checkpoints import behind, entries_at
from tests.support.disk import CountingDisk, system_error


class Killed(BaseException):
    """The process is gone: nothing that it would have done next happens."""


class Histories(RuleBasedStateMachine):
    """What a run, its machine and its user may do to a directory."""

    @initialize()
    def begin(self) -> None:
        self.run = Path(tempfile.mkdtemp(prefix="history-"))
        self.step, self.good, self.damaged = 0, dict[int, float](), set[int]()
        self.keep: tuple[Retention, ...] = (KeepLast(2), KeepBest(1, Mode.min), KeepPinned())
        self.start()

    def start(self) -> None:
        """Let a process prepare the directory at the present step."""
        self.disk, self.full, self.last = CountingDisk(self.fault), False, None
        self.store = CheckpointStore(self.run, keep=self.keep, monitor="val/loss", mode=Mode.min, disk=self.disk)
        self.store.prepare(behind(self.step))
        assert not list(self.run.rglob(".*.tmp-*"))

    def fault(self, name: str, number: int) -> BaseException | None:
        """Kill the process before the operation after its last one, or refuse bytes while the disk is full."""
        if self.last is not None and number > self.last:  # the dead do nothing more
            return Killed()
        return system_error(errno.ENOSPC) if self.full and name == "put" else None

    @rule(metric=st.sampled_from([0.5, 1.0, 2.0, float("nan")]))
    def save(self, metric: float) -> None:
        """Train a step and save it; a full disk takes none of it, and nothing else goes."""
        before = self.contents()
        self.step += 1
        try:
            self.store.save(entries_at(self.step, metric))
        except SaveFailed:
            assert self.full and self.contents() == before and not list(self.run.rglob(".*.tmp-*"))
        else:
            assert not self.full
            self.good[self.step] = metric
            self.good = {step: m for step, m in self.good.items() if step in steps(self.run)}
            kept = sorted(steps(self.run))
            assert kept[-1] == self.step and set(sorted(before | {self.step: b""})[-2:]) <= set(kept)

    @rule(at=st.integers(1, 14), metric=st.sampled_from([0.1, 3.0]))
    def save_and_be_killed(self, at: int, metric: float) -> None:
        """Be killed before one of the operations of a save, or right after it; the next process goes on."""
        self.last = len(self.disk.operations) + at - 1
        with suppress(Killed):
            self.save(metric)
        self.resume()

    @rule()
    def fill(self) -> None:
        self.full = True

    @rule()
    def free(self) -> None:
        self.full = False

    @rule(count=st.integers(1, 3))
    def change_retention(self, count: int) -> None:
        self.keep = (KeepLast(count + 1), KeepBest(count, Mode.min), KeepPinned())
        self.resume()

    @precondition(lambda self: steps(self.run))
    @rule(data=st.data(), how=st.sampled_from(["flip", "truncate", "delete", "pin"]))
    def meddle(self, data: Any, how: str) -> None:
        """Do something to one of the files, as a bad disk or its user may."""
        step = data.draw(st.sampled_from(sorted(steps(self.run))))
        path = steps(self.run)[step]
        if how == "pin":
            path.with_suffix(".pin").touch()
            return
        self.good.pop(step, None)
        self.damaged.add(step)
        if how == "delete":
            path.unlink()
        elif how == "truncate":
            os.truncate(path, path.stat().st_size // 2)
        else:
            content = bytearray(path.read_bytes())
            content[
                content.index(torch.full((4,), float(step)).numpy().tobytes()) if step not in self.flipped() else 0
            ] ^= 4
            path.write_bytes(content)

    def flipped(self) -> set[int]:
        """Return the steps whose weights cannot be found any more."""
        found = steps(self.run)
        return {s for s in found if torch.full((4,), float(s)).numpy().tobytes() not in found[s].read_bytes()}

    @rule()
    def resume(self) -> None:
        """Let another process go on from the newest valid checkpoint, if there is one."""
        newest, passed_over = newest_valid(self.run)
        if newest is None and passed_over:  # refused; the user clears the directory and starts anew
            assert not self.good
            shutil.rmtree(self.run / "checkpoints")
            (self.run / LAST).unlink(missing_ok=True)
        self.step = 0 if newest is None else int(read_entries(newest)["global_step"])
        self.start()
        self.good = {step: metric for step, metric in self.good.items() if step in steps(self.run)}

    def contents(self) -> dict[int, bytes]:
        return {step: path.read_bytes() for step, path in steps(self.run).items()}

    @invariant()
    def what_was_acknowledged_is_found(self) -> None:
        newest, _ = newest_valid(self.run)
        if self.good:
            assert newest is not None and read_entries(newest)["global_step"] >= max(self.good)

    @invariant()
    def no_file_reads_as_something_else(self) -> None:
        named = {path: step for step, path in steps(self.run).items()}
        for path in (*named, *(path for path in (self.run / LAST, self.run / BEST) if path.exists())):
            if readable(path):
                content = read_entries(path)
                step = content["global_step"]
                assert step == named.get(path, step)
                assert torch.equal(content["model_state_dict"]["weight"], torch.full((4,), float(step)))
            else:
                assert named.get(path, min(self.damaged)) in self.damaged

    def teardown(self) -> None:
        if hasattr(self, "run"):
            shutil.rmtree(self.run)


def readable(path: Path) -> bool:
    try:
        verify(path)
    except CheckpointError:
        return False
    return True


@pytest.mark.parametrize("examples", [6, pytest.param(300, marks=pytest.mark.slow)])
def test_no_history_loses_what_was_acknowledged(examples: int) -> None:
    machine: Callable[[], RuleBasedStateMachine] = Histories
    options = settings(
        max_examples=examples,
        stateful_step_count=30,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=options)
