"""What stays in a run's directory, whatever fails on the way."""

import errno
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from runner.checkpoint.best import claimed, standing
from runner.checkpoint.format import read_entries
from runner.checkpoint.listing import newest_valid, step_files, steps
from runner.checkpoint.policies import KeepBest, KeepEvery, KeepLast, KeepPinned, Mode, Retention, Saved
from runner.checkpoint.store import CheckpointStore
from runner.errors import SaveFailed
from runner.files import Disk
from tests.support.checkpoints import behind, entries_at
from tests.support.disk import CountingDisk, at, system_error


def without_links() -> CountingDisk:
    """Return the disk of a file system without hard links."""
    return CountingDisk(at("link", system_error(errno.EPERM)))


def store(run: Path, *keep: Retention, disk: Disk | None = None, step: int = 0) -> CheckpointStore:
    """Return a prepared store."""
    made = CheckpointStore(run, keep=keep or (KeepLast(2),), monitor="val/loss", mode=Mode.min, disk=disk)
    made.prepare(behind(step))
    return made


def test_last_best_and_every_nth_stay_and_the_rest_is_pruned(tmp_path: Path) -> None:
    saving = store(tmp_path, KeepLast(2), KeepBest(1, Mode.min), KeepEvery(4))
    for step, metric in enumerate([5.0, 1.0, float("nan"), 3.0, 1.0, 2.0, float("nan")], start=1):
        saving.save(entries_at(step, metric))
    assert sorted(steps(tmp_path)) == [2, 4, 6, 7]
    assert read_entries(tmp_path / "last.tar")["global_step"] == 7
    assert read_entries(tmp_path / "best.tar")["global_step"] == 2


def test_retention_is_derived_from_the_directory_after_a_restart(tmp_path: Path) -> None:
    first = store(tmp_path, KeepLast(2), KeepBest(1, Mode.min))
    first.save(entries_at(1, 0.5))
    again = store(tmp_path, KeepLast(2), KeepBest(1, Mode.min), step=1)
    for step in (2, 3, 4):
        again.save(entries_at(step, 1.0))
    assert sorted(steps(tmp_path)) == [1, 3, 4]
    assert read_entries(tmp_path / "best.tar")["global_step"] == 1


FOREIGN = (
    "notes.tar",
    "step_1.tar",
    "step_0000000001.tar.bak",
    "step_00000000001.tar",
    "step_\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0661\u0660.tar",
)


def test_foreign_files_are_neither_counted_nor_deleted(tmp_path: Path) -> None:
    saving = store(tmp_path)
    foreign = [tmp_path / "checkpoints" / name for name in FOREIGN]
    for path in foreign:
        path.write_text("mine")
    link = tmp_path / "checkpoints/step_0000000000.tar"
    link.symlink_to(foreign[0])
    for step in (2, 3, 4, 5):
        saving.save(entries_at(step))
    assert all(path.read_text() == "mine" for path in foreign) and link.is_symlink()
    assert sorted(steps(tmp_path)) == [4, 5]


def test_a_symlink_called_last_does_not_lead_a_save_into_an_old_file(tmp_path: Path) -> None:
    saving = store(tmp_path)
    first = saving.save(entries_at(1))
    content = first.read_bytes()
    (tmp_path / "last.tar").unlink()
    (tmp_path / "last.tar").symlink_to(first)
    saving.save(entries_at(2))
    assert first.read_bytes() == content
    assert read_entries(tmp_path / "last.tar")["global_step"] == 2


def test_saving_a_step_again_leaves_its_first_file_as_it_is_and_a_resume_takes_the_second(tmp_path: Path) -> None:
    saving = store(tmp_path)
    first = saving.save(entries_at(1))
    content = first.read_bytes()
    second = saving.save(entries_at(1, 0.25))
    assert first.read_bytes() == content and first != second
    assert newest_valid(tmp_path) == (second, []) and steps(tmp_path) == {1: second}
    assert (tmp_path / "last.tar").samefile(second) and (tmp_path / "best.tar").samefile(second)


def test_a_later_file_of_a_step_is_never_called_as_a_pruned_earlier_one_was(tmp_path: Path) -> None:
    saving = store(tmp_path, KeepLast(1))
    names = [saving.save(entries_at(7, metric)).name for metric in (0.3, 0.2, 0.1)]
    assert names == ["step_0000000007.tar", "step_0000000007.2.tar", "step_0000000007.3.tar"]
    assert [file.path.name for file in step_files(tmp_path)] == names[-1:]


def test_a_pin_holds_the_one_file_of_a_step_that_it_names(tmp_path: Path) -> None:
    saving = store(tmp_path, KeepLast(1), KeepPinned())
    paths = [saving.save(entries_at(7)), saving.save(entries_at(7))]
    paths[1].with_suffix(".pin").touch()
    saving.save(entries_at(8))
    assert [file.path for file in step_files(tmp_path)][:-1] == paths[1:]


def test_a_best_whose_step_file_was_deleted_stays_the_best_until_there_is_a_better_one(tmp_path: Path) -> None:
    first = store(tmp_path, KeepLast(2), KeepBest(1, Mode.min))
    first.save(entries_at(1, 0.5)).unlink()
    newest = first.save(entries_at(2, 0.7))
    (tmp_path / "best.tar").unlink()
    first._link(newest, tmp_path / "best.tar")
    newest.unlink()
    again = CheckpointStore(
        tmp_path, keep=(KeepLast(2), KeepBest(1, Mode.min)), monitor="val/loss", mode=Mode.min, disk=without_links()
    )
    again.prepare(standing(tmp_path / "best.tar", monitor="val/loss", mode=Mode.min))
    for step in (3, 4, 5):
        again.save(entries_at(step, 0.8))
    assert claimed(tmp_path, "val/loss") == (0.7, 2) and sorted(steps(tmp_path)) == [2, 4, 5]


def test_a_damaged_best_is_passed_over_for_the_next_best(tmp_path: Path) -> None:
    saving = store(tmp_path, KeepLast(2), KeepBest(2, Mode.min))
    good, bad, last = (saving.save(entries_at(step, metric)) for step, metric in ((1, 0.5), (2, 0.4), (3, 0.6)))
    content = bytearray(bad.read_bytes())
    content[content.index(torch.full((4,), 2.0).numpy().tobytes())] ^= 4
    bad.write_bytes(content)
    found = standing(last, monitor="val/loss", mode=Mode.min)
    assert found.best is not None and found.best.path == good and found.damaged == (bad,)
    again = CheckpointStore(tmp_path, keep=(KeepLast(2),), monitor="val/loss", mode=Mode.min)
    again.prepare(found)
    again.save(entries_at(4, 0.7))
    assert claimed(tmp_path, "val/loss") == (0.5, 1)


def test_a_step_whose_second_file_could_not_be_synced_counts_by_what_that_file_says(tmp_path: Path) -> None:
    saving = store(tmp_path, KeepLast(2), KeepBest(1, Mode.min))
    saving.save(entries_at(1, 3.0))
    saving._disk = CountingDisk(at("sync_directory"))
    with pytest.raises(SaveFailed):
        saving.save(entries_at(1, 0.5))
    saving._disk = Disk()
    saving.save(entries_at(2, 1.0))
    assert read_entries(tmp_path / "best.tar")["metrics"] == {"val/loss": 0.5}


class Unreadable:
    """A retention that cannot look at the disk."""

    def keep(self, saved: Sequence[Saved]) -> set[Path]:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_what_fails_once_a_checkpoint_is_safe_ends_no_run_and_deletes_nothing(tmp_path: Path) -> None:
    saving = store(tmp_path, KeepLast(1), Unreadable())
    for step in (1, 2, 3):
        saving.save(entries_at(step))
    assert sorted(steps(tmp_path)) == [1, 2, 3]


def test_without_hard_links_the_pointers_are_whole_copies(tmp_path: Path) -> None:
    saving = store(tmp_path, disk=without_links())
    for step in (1, 2):
        saving.save(entries_at(step, 1.0))
    assert read_entries(tmp_path / "last.tar")["global_step"] == 2
    assert not (tmp_path / "last.tar").samefile(tmp_path / "checkpoints/step_0000000002.tar")


@pytest.mark.parametrize("failing", range(1, 11))
def test_whatever_operation_fails_an_earlier_checkpoint_stays_and_no_temporary_does(
    tmp_path: Path, failing: int
) -> None:
    first = store(tmp_path).save(entries_at(1, 1.0))
    content = first.read_bytes()
    disk = CountingDisk(at(failing))
    saving = CheckpointStore(tmp_path, keep=(KeepLast(2),), monitor="val/loss", mode=Mode.min, disk=disk)
    try:
        saving.save(entries_at(2, 0.5))
    except SaveFailed as error:
        assert "No space left" in str(error) and "free" in str(error)
    assert len(disk.operations) >= failing
    assert first.read_bytes() == content
    path, _ = newest_valid(tmp_path)
    assert path is not None and read_entries(path)["global_step"] in (1, 2)
    assert not [p for p in tmp_path.rglob("*") if ".tmp-" in p.name]


def test_a_file_under_another_steps_name_is_passed_over(tmp_path: Path) -> None:
    saving = store(tmp_path)
    saving.save(entries_at(1))
    saving.save(entries_at(2))
    (tmp_path / "checkpoints/step_0000000009.tar").write_bytes(
        (tmp_path / "checkpoints/step_0000000001.tar").read_bytes()
    )
    path, passed_over = newest_valid(tmp_path)
    assert path == tmp_path / "checkpoints/step_0000000002.tar"
    assert len(passed_over) == 1


def test_newer_files_that_a_resume_passed_over_are_set_aside_and_push_out_nothing(tmp_path: Path) -> None:
    saving = store(tmp_path)
    for step in (1, 8, 9):
        saving.save(entries_at(step))
    saving.save(entries_at(10))
    again = CheckpointStore(tmp_path, keep=(KeepLast(2),), monitor="val/loss", mode=Mode.min)
    again.prepare(behind(5))
    again.save(entries_at(6))
    assert sorted(steps(tmp_path)) == [6]
    assert read_entries(tmp_path / "last.tar")["global_step"] == 6
    assert len(list((tmp_path / "checkpoints/superseded").iterdir())) == 2


def test_a_best_that_is_newer_than_what_was_gone_back_to_is_set_aside_with_it(tmp_path: Path) -> None:
    saving = store(tmp_path, KeepLast(3))
    for step, metric in ((1, None), (2, 0.5), (3, None)):
        saving.save(entries_at(step, metric))
    store(tmp_path, step=1)
    assert not (tmp_path / "best.tar").exists() and claimed(tmp_path, "val/loss") is None
    assert len(list((tmp_path / "checkpoints/superseded").iterdir())) == 2
    assert read_entries(tmp_path / "last.tar")["global_step"] == 1


def test_what_is_set_aside_stays_aside_after_a_power_cut(tmp_path: Path) -> None:
    for step in (1, 8):
        store(tmp_path).save(entries_at(step))
    disk = CountingDisk()
    CheckpointStore(tmp_path, keep=(), monitor="val/loss", mode=Mode.min, disk=disk).prepare(behind(5))
    aside = [name == "replace" and what[1].parent.name == "superseded" for name, what in disk.operations]
    later = disk.operations[len(aside) - aside[::-1].index(True) :]
    assert {what.name for name, what in later if name == "sync_directory"} >= {"superseded", "checkpoints"}


def test_what_an_earlier_rewinding_set_aside_stays_when_another_one_does_the_same(tmp_path: Path) -> None:
    for metric in (1.0, 2.0, 3.0):
        store(tmp_path).save(entries_at(7, metric))
        store(tmp_path)
    aside = sorted((tmp_path / "checkpoints/superseded").iterdir())
    assert [read_entries(path)["metrics"]["val/loss"] for path in aside] == [2.0, 3.0, 1.0]


def test_a_run_of_which_only_the_best_checkpoint_was_left_goes_on_from_it(tmp_path: Path) -> None:
    store(tmp_path).save(entries_at(1, 0.5)).unlink()
    (tmp_path / "last.tar").unlink()
    assert newest_valid(tmp_path) == (tmp_path / "best.tar", [])


def test_a_good_last_is_not_replaced_by_a_damaged_file_of_its_step(tmp_path: Path) -> None:
    path = store(tmp_path, disk=without_links()).save(entries_at(1))
    path.write_bytes(path.read_bytes()[:-1])
    again = store(tmp_path, disk=without_links(), step=1)
    assert newest_valid(tmp_path)[0] == tmp_path / "last.tar"
    again.save(entries_at(2))
    assert newest_valid(tmp_path) == (tmp_path / "checkpoints/step_0000000002.tar", [])


@pytest.mark.parametrize("gone", ["checkpoints", "checkpoints/step_0000000002.tar"])
def test_a_checkpoint_that_is_deleted_while_it_is_being_saved_is_not_acknowledged(tmp_path: Path, gone: str) -> None:
    class Deleting(Disk):
        def sync_directory(self, path: Path) -> None:
            super().sync_directory(path)
            if (tmp_path / "checkpoints/step_0000000002.tar").exists():
                shutil.rmtree(tmp_path / gone) if (tmp_path / gone).is_dir() else (tmp_path / gone).unlink()

    saving = store(tmp_path, KeepLast(9), disk=Deleting())
    saving.save(entries_at(1))
    with pytest.raises(SaveFailed, match=r"step_0000000002\.tar could not be written: No such file or directory"):
        saving.save(entries_at(2))
    assert read_entries(tmp_path / "last.tar")["global_step"] == 1
