import errno
import mmap
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import pytest

from runner.files import (
    Disk,
    refusal,
    remove_stale_temporaries,
    replace_text,
    temporary_beside,
    write_durably,
)
from tests.support.disk import CountingDisk, at


def write_new(file: BinaryIO) -> None:
    file.write(b"new")


def test_a_durable_write_syncs_the_file_before_and_the_directory_after_the_rename(tmp_path: Path) -> None:
    disk, target = CountingDisk(), tmp_path / "last.tar"
    write_durably(target, write_new, disk)
    temporary = disk.operations[0][1]
    assert disk.operations == [
        ("create", temporary),
        ("sync", temporary),
        ("replace", (temporary, target)),
        ("sync_directory", tmp_path),
    ]
    assert temporary.parent == tmp_path and temporary != target


def test_the_bytes_are_in_the_file_when_it_is_renamed(tmp_path: Path) -> None:
    class Looking(Disk):
        def replace(self, source: Path, target: Path) -> None:
            assert source.read_bytes() == b"new"
            super().replace(source, target)

    write_durably(tmp_path / "last.tar", write_new, Looking())
    assert (tmp_path / "last.tar").read_bytes() == b"new"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("failing", [1, 2, 3])
def test_a_failure_before_or_at_the_rename_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, failing: int, error: BaseException
) -> None:
    target = tmp_path / "last.tar"
    target.write_bytes(b"old")
    with pytest.raises(type(error)):
        write_durably(target, write_new, CountingDisk(at(failing, error)))
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failed_sync_of_the_directory_is_reported_and_leaves_the_new_file_whole(tmp_path: Path) -> None:
    target = tmp_path / "last.tar"
    target.write_bytes(b"old")
    with pytest.raises(OSError, match="Input/output error"):
        write_durably(target, write_new, CountingDisk(at("sync_directory", OSError(5, "Input/output error"))))
    assert target.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [target]


def test_a_writer_that_raises_half_way_leaves_the_old_file(tmp_path: Path) -> None:
    def write_half(file: BinaryIO) -> None:
        file.write(b"ne")
        raise ValueError("half-way")

    target = tmp_path / "last.tar"
    target.write_bytes(b"old")
    with pytest.raises(ValueError, match="half-way"):
        write_durably(target, write_half, Disk())
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_the_first_error_is_reported_even_if_the_temporary_cannot_be_removed(tmp_path: Path) -> None:
    errors = {"replace": OSError(5, "Input/output error"), "unlink": OSError(30, "Read-only file system")}
    with pytest.raises(OSError, match="Input/output error"):
        write_durably(tmp_path / "last.tar", write_new, CountingDisk(lambda name, number: errors.get(name)))


@pytest.mark.parametrize("fatal", ["create", "sync", "replace", "sync_directory"])
def test_a_process_that_dies_at_any_operation_leaves_the_old_or_the_new_file(tmp_path: Path, fatal: str) -> None:
    (tmp_path / "last.tar").write_bytes(b"old")
    program = f"""
import os, pathlib
from runner.files import Disk, write_durably
class Dying(Disk):
    def {fatal}(self, *arguments):
        os._exit(9)
write_durably(pathlib.Path("last.tar"), lambda file: file.write(b"new"), Dying())
"""
    root = Path(__file__).resolve().parents[1]
    died = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        check=False,
    )
    assert died.returncode == 9
    expected = b"new" if fatal == "sync_directory" else b"old"
    assert (tmp_path / "last.tar").read_bytes() == expected
    remove_stale_temporaries(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["last.tar"]


def test_a_new_file_must_not_exist_yet(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(FileExistsError):
        Disk().create(tmp_path / "x")


def test_a_link_does_not_overwrite(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    with pytest.raises(FileExistsError):
        Disk().link(tmp_path / "a", tmp_path / "b")
    Disk().link(tmp_path / "a", tmp_path / "c")
    assert (tmp_path / "c").samefile(tmp_path / "a")


def test_replaced_text_is_whole_and_leaves_no_temporary(tmp_path: Path) -> None:
    replace_text(tmp_path / "status.json", "one")
    replace_text(tmp_path / "status.json", "zwölf")
    assert (tmp_path / "status.json").read_text(encoding="utf-8") == "zwölf"
    assert [path.name for path in tmp_path.iterdir()] == ["status.json"]


def test_text_that_cannot_be_replaced_leaves_no_temporary(tmp_path: Path) -> None:
    (tmp_path / "status.json").mkdir()
    with pytest.raises(OSError):
        replace_text(tmp_path / "status.json", "one")
    assert [path.name for path in tmp_path.iterdir()] == ["status.json"]


def test_temporary_names_differ_and_stay_in_the_directory(tmp_path: Path) -> None:
    names = {temporary_beside(tmp_path / "last.tar") for _ in range(100)}
    assert len(names) == 100
    assert {name.parent for name in names} == {tmp_path}


def test_only_temporaries_of_dead_processes_of_this_host_are_removed(tmp_path: Path) -> None:
    host = socket.gethostname().split(".")[0] or "localhost"
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    stale = [f".a.tar.tmp-{host}-{dead.pid}-0123abcd", f".a.tar.tmp-{host}-{os.getpid()}-0123abcd"]
    kept = [
        f".a.tar.tmp-{host}-1-0123abcd",
        f".a.tar.tmp-elsewhere-{dead.pid}-0123abcd",
        f".a.tar.tmp-{host}-nobody-0123abcd",
        "a.tar",
        ".hidden",
    ]
    for name in stale + kept:
        (tmp_path / name).touch()
    remove_stale_temporaries(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


@pytest.mark.parametrize("begin", [0, 1])  # what does not begin at a page, no file system takes directly
def test_what_is_put_stands_behind_what_was_there_whether_it_may_go_past_the_cache_or_not(
    tmp_path: Path, begin: int
) -> None:
    memory = memoryview(mmap.mmap(-1, (9 << 20) + 100))
    memory[:] = os.urandom(len(memory))
    before = bytes(4096 * (1 - begin))
    with Disk().create(tmp_path / "file") as file:
        file.write(before)
        Disk().put(file, memory[begin:])
    assert (tmp_path / "file").read_bytes() == before + memory[begin:]


def test_the_free_space_that_is_named_is_that_of_the_file(tmp_path: Path) -> None:
    error = OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "sweep/results.csv"))
    assert f" MiB are free in {tmp_path}; " in str(refusal(error))
    assert f" MiB are free in {tmp_path}; " in str(refusal(OSError(errno.ENOSPC, "full"), tmp_path / "sweep"))
    assert f" MiB are free in {Path.cwd()}; " in str(refusal(OSError(errno.ENOSPC, "full")))
