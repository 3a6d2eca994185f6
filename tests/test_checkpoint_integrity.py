import io
import os
import random
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from runner.checkpoint.archive import verify as integrity
from runner.checkpoint.format import compose_entries, read_entries
from runner.checkpoint.sharded.opening import verify
from runner.errors import (
    CheckpointDamaged,
    CheckpointError,
    CheckpointMissing,
    CheckpointRefused,
)
from tests.support.checkpoints import small_entries, write_entries
from tests.support.comparing import same


def assert_never_wrong(path: Path, expected: dict[str, Any]) -> bool:
    """Return whether the file was turned down; fail when it reads as something else than `expected`."""
    try:
        found = read_entries(path)
    except CheckpointError as error:
        assert "weights_only=False" not in str(error)
        return True
    assert same(found, expected)
    return False


def rezipped(path: Path, rename: Callable[[str], str] = str, extra: tuple[str, ...] = (), **options: Any) -> None:
    """Write the archive at `path` anew with other names, more members or another compression."""
    with zipfile.ZipFile(path) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in [*members, *((name, b"x") for name in extra)]:
            archive.writestr(rename(name), content)


def test_a_written_file_is_believed(checkpoint: Path) -> None:
    verify(checkpoint)


def test_a_flipped_bit_is_noticed_or_without_effect(checkpoint: Path, entries: dict[str, Any]) -> None:
    whole, chance = checkpoint.read_bytes(), random.Random(0)
    stride = max(1, len(whole) // 400)
    turned_down = 0
    for start in range(0, len(whole), stride):  # one in each stretch, so that no region is spared
        position = min(start + chance.randrange(stride), len(whole) - 1)
        flipped = bytearray(whole)
        flipped[position] ^= 1 << chance.randrange(8)
        checkpoint.write_bytes(flipped)
        turned_down += assert_never_wrong(checkpoint, entries)
    assert turned_down > 100


def test_every_flipped_bit_of_a_tensor_is_damage(checkpoint: Path) -> None:
    whole = checkpoint.read_bytes()
    with zipfile.ZipFile(checkpoint) as archive:
        member = next(m for m in archive.infolist() if "/data/" in m.filename)
        weights = archive.read(member)
    start = whole.index(weights)
    for position in range(start, start + len(weights)):
        flipped = bytearray(whole)
        flipped[position] ^= 1
        checkpoint.write_bytes(flipped)
        with pytest.raises(CheckpointDamaged, match="is damaged"):
            verify(checkpoint)


def test_every_truncation_is_turned_down(checkpoint: Path) -> None:
    whole = checkpoint.read_bytes()
    for length in [*range(0, len(whole), 37), len(whole) - 1]:
        checkpoint.write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            read_entries(checkpoint)


def test_a_truncated_file_is_called_damaged(checkpoint: Path) -> None:
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    with pytest.raises(CheckpointDamaged, match="newest valid one"):
        verify(checkpoint)


@pytest.mark.parametrize("hole", [1, 64, 512])
def test_holes_of_zeros_are_noticed_or_without_effect(checkpoint: Path, entries: dict[str, Any], hole: int) -> None:
    whole = checkpoint.read_bytes()
    turned_down = 0
    for start in range(0, len(whole), max(hole, 48)):
        checkpoint.write_bytes((whole[:start] + bytes(hole) + whole[start + hole :])[: len(whole)])
        turned_down += assert_never_wrong(checkpoint, entries)
    assert turned_down > 0


@pytest.mark.parametrize("junk", [b"\0", b"junk", bytes(4096), b"PK\x05\x06" + bytes(18)])
def test_junk_at_the_end_is_damage(checkpoint: Path, junk: bytes) -> None:
    checkpoint.write_bytes(checkpoint.read_bytes() + junk)
    with pytest.raises(CheckpointError):
        verify(checkpoint)


@pytest.mark.parametrize("junk", [b"\0", b"#!/bin/sh\n", b"PK\x03\x04" + bytes(60)])
def test_junk_at_the_beginning_is_damage(checkpoint: Path, junk: bytes) -> None:
    checkpoint.write_bytes(junk + checkpoint.read_bytes())
    with pytest.raises(CheckpointDamaged):
        verify(checkpoint)


def test_two_checkpoints_in_one_file_are_damage(written: Callable[..., Path]) -> None:
    first, second = written("a.tar"), written("b.tar", loss=0.75)
    first.write_bytes(second.read_bytes() + first.read_bytes())
    with pytest.raises(CheckpointError):
        verify(first)


def test_an_absent_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(CheckpointMissing, match="there is no checkpoint at"):
        verify(tmp_path / "last.tar")


def test_a_path_below_a_file_is_missing(checkpoint: Path) -> None:
    with pytest.raises(CheckpointMissing):
        verify(checkpoint / "last.tar")


@pytest.mark.parametrize("name", ["x" * 5000, "nul\0byte"])
def test_an_impossible_path_is_missing(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointMissing):
        verify(tmp_path / name)


def test_an_empty_file_is_damage(checkpoint: Path) -> None:
    checkpoint.write_bytes(b"")
    with pytest.raises(CheckpointDamaged, match="it is empty"):
        verify(checkpoint)


def test_a_directory_is_answered_with_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(CheckpointMissing, match="is a directory; name a checkpoint file"):
        verify(tmp_path)


def test_a_fifo_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "last.tar")
    with pytest.raises(CheckpointRefused, match="not a regular file"):
        verify(tmp_path / "last.tar")


def test_a_device_is_refused_without_being_read() -> None:
    with pytest.raises(CheckpointRefused, match="not a regular file"):
        verify(Path("/dev/zero"))


def tar_archive() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"), io.BytesIO())
    return buffer.getvalue()


def legacy_file() -> bytes:
    buffer = io.BytesIO()
    torch.save({"epoch": 1}, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"<!DOCTYPE html><title>404</title>", "an HTML or XML page"),
        (b"\x80\x04N.", "a bare pickle"),
        (legacy_file(), "before torch 1.6"),
        (tar_archive(), "a tar archive"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a git-lfs pointer"),
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "a picture"),
        (b"\x1f\x8b\x08" + bytes(64), "a gzip archive"),
        (b"hello, world\n" * 100, "a text file"),
    ],
)
def test_another_kind_of_file_is_refused_by_its_name(checkpoint: Path, content: bytes, what: str) -> None:
    checkpoint.write_bytes(content)
    with pytest.raises(CheckpointRefused, match=what):
        verify(checkpoint)


@pytest.mark.parametrize("content", [bytes(4096), b"\x01", b"PK", b"PK\x03\x04", b"hello, \0world\n" * 100])
def test_a_file_of_nothing_known_is_damage(checkpoint: Path, content: bytes) -> None:
    checkpoint.write_bytes(content)
    with pytest.raises(CheckpointDamaged):
        verify(checkpoint)


def test_a_file_whose_checksums_were_left_out_is_not_believed(checkpoint: Path) -> None:
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"weights": torch.arange(100)}, checkpoint)
    finally:
        torch.serialization.set_crc32_options(before)
    with pytest.raises(CheckpointError):
        verify(checkpoint)


def test_compressed_members_are_refused(checkpoint: Path) -> None:
    rezipped(checkpoint, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointRefused, match="compressed"):
        verify(checkpoint)


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
@pytest.mark.parametrize("twin", ["last/data.pkl", "last/DATA.pkl", "LAST/data.pkl", "last/data/0"])
def test_two_members_of_one_name_are_refused(checkpoint: Path, twin: str) -> None:
    rezipped(checkpoint, lambda name: "last/" + name.split("/", 1)[1])
    verify(checkpoint)
    rezipped(checkpoint, extra=(twin,))
    with pytest.raises(CheckpointRefused, match="two members of one name"):
        verify(checkpoint)


@pytest.mark.parametrize("name", ["archive/../../evil", "../evil", "/etc/evil", "archive\\evil"])
def test_a_member_outside_of_the_folder_is_refused(checkpoint: Path, name: str) -> None:
    rezipped(checkpoint, extra=(name,))
    with pytest.raises(CheckpointRefused, match="outside its own folder"):
        verify(checkpoint)


def test_two_folders_are_refused(checkpoint: Path) -> None:
    rezipped(checkpoint, extra=("other/data.pkl",))
    with pytest.raises(CheckpointRefused, match="another program"):
        verify(checkpoint)


def test_a_zip_of_another_program_is_refused(checkpoint: Path) -> None:
    with zipfile.ZipFile(checkpoint, "w") as archive:
        archive.writestr("notes.txt", "hello")
    with pytest.raises(CheckpointRefused, match="another program"):
        verify(checkpoint)


def test_an_empty_zip_is_turned_down(checkpoint: Path) -> None:
    zipfile.ZipFile(checkpoint, "w").close()
    with pytest.raises(CheckpointError):
        verify(checkpoint)


def test_verifying_leaves_the_file_as_it_was(checkpoint: Path) -> None:
    before = checkpoint.read_bytes()
    verify(checkpoint)
    assert checkpoint.read_bytes() == before


def test_a_file_that_a_writer_replaces_while_it_is_opened_is_judged_by_itself(
    tmp_path: Path, written: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    small, large = tmp_path / "small.tar", tmp_path / "large.tar"
    small.write_bytes(written().read_bytes())
    large.write_bytes(written(model_state_dict={"weight": torch.zeros(4096)}).read_bytes())
    real = integrity.check_regular

    def replaced_meanwhile(path: Path) -> os.stat_result:
        size = real(path)
        os.replace(large, small)
        return size

    monkeypatch.setattr(integrity, "check_regular", replaced_meanwhile)
    verify(small)
    assert not large.exists()  # it was replaced in time


@pytest.mark.slow
def test_two_thousand_flips_holes_and_truncations_never_read_as_something_else(tmp_path: Path) -> None:
    """Half of them anywhere, half in what describes the tensors: the pickle, the names, the directory at the end."""
    chance, path = random.Random(1), tmp_path / "step_0000000007.tar"
    model = torch.nn.Sequential(*(torch.nn.Linear(40, 40) for _ in range(6)))
    optimizer = torch.optim.Adam(model.named_parameters())
    model(torch.ones(1, 40)).sum().backward()
    optimizer.step()
    expected = compose_entries({"model": model, "optimizer": optimizer}, small_entries())
    with open(path, "wb") as file:
        write_entries(file, expected)
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        tensors = [
            (m.header_offset, m.header_offset + m.file_size) for m in archive.infolist() if "/data/" in m.filename
        ]
    other = [at for at in range(len(whole)) if not any(start + 64 < at < end for start, end in tensors)]
    turned_down = 0
    for number in range(2000):
        at = chance.choice(other) if number % 2 else chance.randrange(len(whole))
        damaged, kind = bytearray(whole), number % 10
        if kind < 7:
            damaged[at] ^= 1 << chance.randrange(8)
        elif kind < 9:
            length = chance.choice([1, 16, 512, 4096])
            damaged[at : at + length] = bytes(len(damaged[at : at + length]))
        else:
            del damaged[at:]
        path.write_bytes(damaged)
        turned_down += assert_never_wrong(path, expected)
    assert turned_down > 1200
