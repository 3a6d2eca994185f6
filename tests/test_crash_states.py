"""Promise 2, against every state that a kill or a power cut can leave: none of what was acknowledged is lost.

Six saves are made for real while all that happens to the directory is recorded; every state that
may be left at any moment is laid out as real files and asked what a resume would take. The last
tests do the same to writers with one fault each, so that the proof is known to notice.
"""

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from runner.checkpoint.best import Standing, claimed, standing
from runner.checkpoint.format import read_entries
from runner.checkpoint.listing import newest_valid, steps
from runner.checkpoint.policies import KeepBest, KeepEvery, KeepLast, Mode, Retention
from runner.checkpoint.store import CheckpointStore
from runner.errors import ConfigError
from runner.run_directory.attempts import Attempt, read_attempts, write_attempt
from tests.support.checkpoints import behind, entries_at
from tests.support.crash_states import FolderSynced, Recorder, Synced, Tree, after_a_crash, lay_out

BETTER, WORSE = (6.0, 5.0, 4.0, 3.0, 2.0, 1.0), (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
MIXED, UNMEASURED = (2.0, 1.0, float("nan"), 3.0, 0.5, 1.0), (None,) * 6
POINTERS = ("run/last.tar", "run/best.tar")


@dataclass(frozen=True)
class Setting:
    """Which saves are made, and what is kept of them."""

    keep: tuple[Retention, ...] = (KeepLast(2),)
    metrics: Sequence[float | None] = BETTER
    steps: Sequence[int] = (1, 2, 3, 4, 5, 6)
    restarts: bool = False


SETTINGS = {
    "keep_last=1": Setting((KeepLast(1),)),
    "keep_last=2": Setting(),
    "keep_last=3": Setting((KeepLast(3),)),
    "keep_last=2, nothing measured": Setting(metrics=UNMEASURED),
    "keep_last=2, the metric worse each time": Setting(metrics=WORSE),
    "keep_best=1, the metric better each time": Setting((KeepLast(2), KeepBest(1, Mode.min))),
    "keep_best=1, the metric worse each time": Setting((KeepLast(2), KeepBest(1, Mode.min)), WORSE),
    "keep_best=1, now better, now worse, now no number": Setting((KeepLast(2), KeepBest(1, Mode.min)), MIXED),
    "keep_best=2, the metric worse each time": Setting((KeepLast(1), KeepBest(2, Mode.min)), WORSE),
    "keep_every=2": Setting((KeepLast(1), KeepEvery(2)), MIXED),
    "all of them": Setting((KeepLast(2), KeepBest(1, Mode.min), KeepEvery(2)), MIXED),
    "a step saved again": Setting(steps=(1, 2, 2, 3, 3, 4), metrics=MIXED),
    "a new process for each save": Setting((KeepLast(2), KeepBest(1, Mode.min)), MIXED, restarts=True),
}


@dataclass
class History:
    """What stood where after each save, by its number; 0 is before the first."""

    trees: list[Tree] = field(default_factory=lambda: [{}])
    number_of: dict[bytes, int] = field(default_factory=dict)
    """The number of the save that wrote these bytes."""

    def note(self, root: Path, written: Path) -> None:
        """Remember how the directory stands, and what was written last."""
        self.number_of[written.read_bytes()] = len(self.trees)
        files = [path for path in root.rglob("*") if path.is_file()]
        self.trees.append({str(path.relative_to(root)): path.read_bytes() for path in files})


def store_in(root: Path, setting: Setting, disk: Recorder | None = None) -> CheckpointStore:
    return CheckpointStore(root / "run", keep=setting.keep, monitor="val/loss", mode=Mode.min, disk=disk)


def recorded(tmp_path: Path, setting: Setting, kind: type[Recorder] = Recorder) -> tuple[Recorder, History]:
    """Make the saves of a setting for real; return what was done and what stood where."""
    root, aside = tmp_path / "real", tmp_path / "aside"
    root.mkdir()
    aside.mkdir()
    disk, history = kind(root, aside), History()
    store = store_in(root, setting, disk)
    store.prepare()
    for number, (step, metric) in enumerate(zip(setting.steps, setting.metrics, strict=True), start=1):
        if setting.restarts:
            store = store_in(root, setting, disk)
            store.prepare(behind(setting.steps[number - 2] if number > 1 else 0))
        path = store.save({**entries_at(step, metric), "loss": float(number)})
        disk.say(number)
        history.note(root, path)
    return disk, history


def faults(tree: Tree, root: Path, acknowledged: int, history: History) -> Iterator[str]:
    """Yield what is wrong with a state in which this many saves had been acknowledged; it lies in `root`."""
    number_of = history.number_of
    for name, what in tree.items():
        if name.startswith("run/checkpoints/step_") and what not in number_of:
            yield f"{name} is no whole checkpoint"
    taken, _ = newest_valid(root / "run")
    newest = number_of.get(taken.read_bytes(), -1) if taken else 0
    if newest < acknowledged:
        yield f"save {acknowledged} is lost: a resume would take {taken}"
    kept = history.trees[max(newest, 0)]
    for name in kept:
        if name.startswith("run/checkpoints/") and tree.get(name) != kept[name]:
            yield f"{name} is gone, which is to be kept"
    for name in POINTERS:
        if tree.get(name) not in [stood.get(name) for stood in history.trees[acknowledged : acknowledged + 2]]:
            yield f"{name} is neither what it was nor what it becomes"


def judged(tmp_path: Path, disk: Recorder, history: History) -> tuple[int, list[str]]:
    """Lay out the states that may be left, up to the first with a fault; return their number and the faults."""
    pool: dict[bytes, Path] = {}
    for number, (told, tree) in enumerate(after_a_crash(disk.events), start=1):
        root = tmp_path / "left"
        lay_out(tree, root, pool) if tree else root.mkdir()
        found = list(faults(tree, root, told or 0, history))
        shutil.rmtree(root)
        if found:
            return number, found
    return number, []


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_no_crash_loses_what_was_acknowledged_or_leaves_half_a_file(tmp_path: Path, setting: Setting) -> None:
    number, found = judged(tmp_path, *recorded(tmp_path, setting))
    assert not found
    assert number > 80


class WithoutLinks(Recorder):
    """A file system without hard links."""

    def link(self, source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))


def test_no_crash_loses_anything_on_a_file_system_without_hard_links(tmp_path: Path) -> None:
    setting = Setting((KeepLast(1), KeepBest(1, Mode.min)), MIXED)
    number, found = judged(tmp_path, *recorded(tmp_path, setting, WithoutLinks))
    assert not found
    assert number > 80


def test_a_run_goes_on_and_saves_from_whatever_state_a_crash_leaves(tmp_path: Path) -> None:
    setting = SETTINGS["all of them"]
    disk, _ = recorded(tmp_path, setting)
    for number, (told, tree) in enumerate(after_a_crash(disk.events)):
        root = tmp_path / f"left_{number}" / "root"
        root.parent.mkdir()
        lay_out(tree, root, {}) if tree else root.mkdir()
        taken, _ = newest_valid(root / "run")
        step = read_entries(taken)["global_step"] if taken else 0
        assert step >= (told or 0)
        store = store_in(root, setting)
        store.prepare(behind(step))
        assert newest_valid(root / "run") == (taken, [])
        store.save(entries_at(step + 1, 0.25))
        assert read_entries(root / "run/last.tar")["global_step"] == step + 1
        assert read_entries(root / "run/best.tar")["global_step"] == step + 1
        assert not [path for path in root.rglob("*") if ".tmp-" in path.name]


def test_a_crash_in_a_rewind_leaves_a_checkpoint_to_go_on_from(tmp_path: Path) -> None:
    setting = Setting((KeepLast(4),), MIXED[:4], (1, 2, 3, 4))
    disk, history = recorded(tmp_path, setting)
    before = len(disk.events)
    store = store_in(disk.root, setting, disk)
    store.prepare(behind(2))
    history.note(disk.root, store.save(entries_at(3, 9.0)))
    pool: dict[bytes, Path] = {}
    for number, (_, tree) in enumerate(after_a_crash(disk.events, first=before)):
        root = tmp_path / f"left_{number}" / "root"
        root.parent.mkdir()
        lay_out(tree, root, pool)
        taken, passed_over = newest_valid(root / "run")
        assert taken is not None and not passed_over
        assert history.number_of[taken.read_bytes()] >= 2
        assert all(tree[name] in history.number_of for name in POINTERS)


def test_a_crash_in_a_rewind_behind_the_best_leaves_no_claim_of_what_was_set_aside(tmp_path: Path) -> None:
    setting = Setting((KeepLast(4),), BETTER[:4], (1, 2, 3, 4))
    disk, history = recorded(tmp_path, setting)
    before = len(disk.events)
    store_in(disk.root, setting, disk).prepare(standing_in(disk.root / "run/checkpoints/step_0000000002.tar"))
    for number, (_, tree) in enumerate(after_a_crash(disk.events, first=before)):
        root = tmp_path / f"left_{number}" / "root"
        root.parent.mkdir()
        lay_out(tree, root, {})
        taken, passed_over = newest_valid(root / "run")
        assert taken is not None and not passed_over
        assert all(what in history.number_of for name, what in tree.items() if name.endswith(".tar"))
        store_in(root, setting).prepare(standing_in(taken))
        assert claimed(root / "run", "val/loss") == (7.0 - steps_of(taken), steps_of(taken))


def standing_in(checkpoint: Path) -> Standing:
    return standing(checkpoint, monitor="val/loss", mode=Mode.min)


def steps_of(checkpoint: Path) -> int:
    return int(read_entries(checkpoint)["global_step"])


@pytest.mark.parametrize("kind", [Recorder, WithoutLinks])
def test_a_crash_in_a_fork_leaves_its_parent_alone_and_of_the_best_all_or_nothing(
    tmp_path: Path, kind: type[Recorder]
) -> None:
    setting = Setting((KeepLast(2), KeepBest(1, Mode.min)), WORSE[:4], (1, 2, 3, 4))
    disk, history = recorded(tmp_path, setting, kind)
    parent = {name: what for name, what in history.trees[-1].items() if name.startswith("run/")}
    disk.say(None)
    before = len(disk.events)
    fork = CheckpointStore(disk.root / "fork", keep=setting.keep, monitor="val/loss", mode=Mode.min, disk=disk)
    fork.prepare(standing_in(disk.root / "run/last.tar"))
    history.note(disk.root, fork.save({**entries_at(4, 4.0), "loss": 9.0}))
    disk.say(4)
    for number, (told, tree) in enumerate(after_a_crash(disk.events, first=before)):
        assert {name: tree.get(name) for name in parent} == parent
        root = tmp_path / f"left_{number}" / "root"
        root.parent.mkdir()
        lay_out(tree, root, {})
        taken, passed_over = newest_valid(root / "fork")
        assert not passed_over and (told is None or (taken is not None and steps_of(taken) == told))
        assert claimed(root / "fork", "val/loss") == (1.0, 1) or told is None


ATTEMPT = Attempt(2, "a1", "2026-11-29T00:00:00+00:00", 9, None, ["resume=outputs/x"], ["epochs: 4", ""])


def recorded_attempt(tmp_path: Path, kind: type[Recorder]) -> Iterator[tuple[Any, list[Attempt] | None]]:
    """Yield what a reader had been told, and finds, None for half of it, in each state that a crash may leave."""
    root, aside = tmp_path / "real", tmp_path / "aside"
    (root / "run").mkdir(parents=True)
    aside.mkdir()
    disk = kind(root, aside)
    disk.look()
    disk.sync_directory(root)
    write_attempt(root / "run", ATTEMPT, disk)
    disk.say("recorded")
    for number, (told, tree) in enumerate(after_a_crash(disk.events)):
        left = tmp_path / f"left_{number}" / "root"
        left.parent.mkdir()
        lay_out(tree, left, {}) if tree else left.mkdir()
        try:
            yield told, read_attempts(left / "run")
        except ConfigError:
            yield told, None


def test_a_crash_while_an_attempt_goes_on_record_leaves_all_of_it_or_nothing(tmp_path: Path) -> None:
    found = list(recorded_attempt(tmp_path, Recorder))
    assert len(found) > 5 and all(left in ([], [ATTEMPT]) for _, left in found)
    assert all(left == [ATTEMPT] for told, left in found if told)


class ForgetsTheFile(Recorder):
    """Never syncs a file."""

    def sync(self, file: BinaryIO) -> None:
        file.flush()
        self.look()


class ForgetsDirectories(Recorder):
    """Never syncs a directory."""

    forgotten = ("", "run", "run/checkpoints")

    def sync_directory(self, path: Path) -> None:
        super().sync_directory(path)
        assert isinstance(self.events[-1], FolderSynced)
        if self.events[-1].folder in self.forgotten:
            self.events.pop()


class ForgetsTheCheckpoints(ForgetsDirectories):
    """Never syncs the directory of the checkpoints."""

    forgotten = ("run/checkpoints",)


class ForgetsTheRun(ForgetsDirectories):
    """Never syncs the directory of last.tar and best.tar."""

    forgotten = ("run",)


class ForgetsTheParent(ForgetsDirectories):
    """Never syncs the directory in which the run's directory is new."""

    forgotten = ("",)


class SyncsAfterwards(Recorder):
    """Renames first and syncs the file then."""

    def sync(self, file: BinaryIO) -> None:
        super().sync(file)
        self._late = self.events.pop()

    def replace(self, source: Path, target: Path) -> None:
        super().replace(source, target)
        if late := vars(self).pop("_late", None):
            assert isinstance(late, Synced)
            self.events.append(late)


class PointsBySymlink(Recorder):
    """Makes last.tar and best.tar symbolic links."""

    def link(self, source: Path, target: Path) -> None:
        self.look()
        os.symlink(source.relative_to(target.parent), target)
        self.look()


class RemovesThenRenames(Recorder):
    """Removes what it is about to replace."""

    def replace(self, source: Path, target: Path) -> None:
        if target.exists():
            self.unlink(target)
        super().replace(source, target)


class OverwritesInPlace(Recorder):
    """Writes into the file itself."""

    def create(self, path: Path) -> BinaryIO:
        self.look()
        file = open(path.with_name(path.name[1:].split(".tmp-")[0]), "wb")  # noqa: SIM115
        self.look()
        return file

    def replace(self, source: Path, target: Path) -> None:
        if source.exists():
            super().replace(source, target)


class PrunesFirst(Recorder):
    """Makes room for a checkpoint before it is there."""

    def create(self, path: Path) -> BinaryIO:
        for old in sorted(steps(self.root / "run").items())[:-1]:
            self.unlink(old[1])
        return super().create(path)


MUTANTS = [
    ForgetsTheFile, ForgetsDirectories, ForgetsTheCheckpoints, ForgetsTheRun, ForgetsTheParent, SyncsAfterwards,
    PointsBySymlink, RemovesThenRenames, OverwritesInPlace, PrunesFirst,
]  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_writer_with_a_fault_is_caught(tmp_path: Path, mutant: type[Recorder]) -> None:
    _, found = judged(tmp_path, *recorded(tmp_path, Setting(metrics=WORSE), mutant))
    assert found


@pytest.mark.parametrize("mutant", [ForgetsTheFile, ForgetsDirectories, SyncsAfterwards, OverwritesInPlace])
def test_a_record_that_is_written_with_a_fault_is_caught(tmp_path: Path, mutant: type[Recorder]) -> None:
    assert any(left is None or (told and not left) for told, left in recorded_attempt(tmp_path, mutant))
