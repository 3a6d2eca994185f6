"""Tensors come of checked bytes and checked facts only, and of sound archives always."""

import io
import os
import pickle
import resource
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from runner.checkpoint.archive import verify as integrity
from runner.checkpoint.format import read_plain
from runner.checkpoint.reader.contents import read_contents
from runner.checkpoint.reader.header import verified_header
from runner.errors import CheckpointDamaged, CheckpointError, CheckpointRefused
from tests.support.comparing import same
from tests.support.forged_archives import calling, saved, text, write, zoo

READERS = (read_plain, read_contents, verified_header)
pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{start}:UserWarning")
    for start in ("Sparse CSR tensor support", "Sparse invariant checks", "torch.quantize_per_tensor", "TypedStorage")
]


def refusals(path: Path) -> list[CheckpointError]:
    """Return why each of the readers turns a file down; fail if one takes it."""
    errors = []
    for read in READERS:
        with pytest.raises(CheckpointError) as caught:
            read(path)
        errors.append(caught.value)
    assert len({type(error) for error in errors}) == 1
    return errors


def number(value: int) -> bytes:
    """Return the opcode of a number."""
    return b"\x8a\x08" + struct.pack("<q", value)


def storage(key: str = "0", kind: str = "FloatStorage", length: int = 4) -> bytes:
    """Return the opcodes of a storage."""
    inner = text("storage") + b"ctorch\n" + kind.encode() + b"\n" + text(key) + text("cpu") + number(length)
    return b"(" + inner + b"tQ"


def strided(place: bytes, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    """Return the opcodes of a call's arguments for a dense tensor."""
    tuples = (b"(" + b"".join(map(number, lengths)) + b"t" for lengths in (shape, stride))
    return b"(" + place + number(offset) + b"".join(tuples) + b"\x89N" + b"t"


FOUR = [
    ("archive/data/0", struct.pack("<4f", 1, 2, 3, 4)),
    ("archive/version", b"3\n"),
    ("archive/byteorder", b"little"),
]
V2 = "torch._utils._rebuild_tensor_v2"


def test_the_opcodes_of_these_tests_make_a_tensor(tmp_path: Path) -> None:
    whole = calling(V2, strided(storage(), 1, (3,), (1,)))
    path = write(tmp_path / "x.pt", [("archive/data.pkl", whole), *FOUR])
    assert torch.equal(read_plain(path)["a"], torch.tensor([2.0, 3.0, 4.0]))
    assert same(read_plain(path), torch.load(path, weights_only=True))
    assert read_contents(path).whole.tensors[0].shape == (3,)


OUTSIDE: dict[str, bytes] = {
    "a storage longer than its record": strided(storage(length=5), 0, (5,), (1,)),
    "a storage shorter than its record": strided(storage(length=3), 0, (3,), (1,)),
    "a storage of another type": strided(storage(kind="DoubleStorage"), 0, (4,), (1,)),
    "a storage without a record": strided(storage("1"), 0, (4,), (1,)),
    "a record that is no storage": strided(storage("../version", "ByteStorage", 2), 0, (2,), (1,)),
    "an offset": strided(storage(), 1, (4,), (1,)),
    "a negative offset": strided(storage(), -1, (1,), (1,)),
    "a stride": strided(storage(), 0, (2,), (4,)),
    "a negative stride": strided(storage(), 3, (4,), (-1,)),
    "a shape": strided(storage(), 0, (5,), (0,)),
    "a negative shape": strided(storage(), 0, (-1,), (1,)),
    "more strides than lengths": strided(storage(), 0, (4,), (1, 1)),
    "a product beyond 64 bits": strided(storage(), 0, (2**40, 2**40), (0, 0)),
    "a sum beyond 64 bits": strided(storage(), 0, (2, 2), (2**62, 2**62)),
}


@pytest.mark.parametrize("arguments", OUTSIDE.values(), ids=OUTSIDE)
def test_a_tensor_outside_of_its_record_is_turned_down_by_every_reader(tmp_path: Path, arguments: bytes) -> None:
    refusals(write(tmp_path / "x.pt", [("archive/data.pkl", calling(V2, arguments)), *FOUR]))


CALLS: dict[str, bytes] = {
    "uninitialised memory": calling("torch.FloatTensor", number(100_000) + b"\x85"),
    "an uninitialised parameter": calling("torch.nn.parameter.Parameter", b")"),
    "an uninitialised storage": calling("torch.storage.UntypedStorage", number(100_000) + b"\x85"),
    "gigabytes of bytes": calling("builtins.bytearray", number(2_500_000_000) + b"\x85"),
    "a tensor without values": calling("torch._utils._rebuild_meta_tensor_no_storage", b")"),
    "an object made without a call": b"\x80\x02}X\x01\0\0\0actorch\nFloatTensor\n)\x81s.",
    "a state for a tensor": calling(V2, strided(storage(), 0, (4,), (1,)))[:-2] + b"}bs.",
    "another encoding": calling("_codecs.encode", text("x") + text("rot13") + b"\x86"),
    "a function for a value": b"\x80\x02}X\x01\0\0\0actorch._utils\n_rebuild_parameter\ns.",
    "a storage for a value": b"\x80\x02}X\x01\0\0\0a" + storage() + b"s.",
    "a tensor in a set": calling(
        "builtins.set", b"]" + calling(V2, strided(storage(), 0, (4,), (1,)))[10:-2] + b"a\x85"
    ),
    "a nested key": b"\x80\x02}))\x85\x85Ns.",
    "an extension": b"\x80\x02\x82\x01.",
    "another protocol": pickle.dumps({"a": [1, "x"]}, 4),
    "attributes": b"\x80\x02ccollections\nOrderedDict\n)R}" + text("items") + b"Nsb.",
}


@pytest.mark.parametrize("structure", CALLS.values(), ids=CALLS)
def test_only_what_torch_writes_of_tensors_and_plain_values_is_read(tmp_path: Path, structure: bytes) -> None:
    refusals(write(tmp_path / "x.pt", [("archive/data.pkl", structure), *FOUR]))


LARGE = b"]" + b"(" + b"".join(b"J" + struct.pack("<i", value) for value in range(20_000)) + b"e"
SET = b"cbuiltins\nset\nq\x03"
CODEC = b"c_codecs\nencode\nq\x03" + text("\xff" * 200_000) + b"q\x01" + text("latin1") + b"q\x02"
MULTIPLE = 2**61 - 1  # of which all numbers have one hash
LEVELS = b"".join(
    b"}" + b"".join(text(name * 190) + b"h" + bytes([level]) + b"s" for name in "ab") + b"q" + bytes([level + 1])
    for level in range(1, 25)
)
AMPLIFIED: dict[str, tuple[bytes, bool]] = {
    "one text encoded again and again": (CODEC + b"](" + b"h\x03h\x01h\x02\x86R" * 50_000 + b"e.", False),
    "one list made a set again and again": (
        LARGE + b"q\x01" + SET + b"](" + b"h\x03h\x01\x85R" * 50_000 + b"e.",
        False,
    ),
    "one set in many places": (SET + LARGE + b"\x85Rq\x01](" + b"h\x01" * 100_000 + b"e.", True),
    "keys of one hash": (
        b"}(" + b"".join(b"\x8a\x0a" + (n * MULTIPLE).to_bytes(10, "little") + b"N" for n in range(6000)) + b"u.",
        False,
    ),
    "long names at many levels": (b"}" + text("k") + b"Nsq\x01" + LEVELS + b".", False),
    "many small containers": (b"](" + b"}" * 100_000 + b"]" * 100_000 + b"e.", True),
}


@pytest.mark.parametrize(("structure", "taken"), AMPLIFIED.values(), ids=AMPLIFIED)
def test_little_that_stands_for_much_takes_neither_time_nor_memory(
    tmp_path: Path, structure: bytes, taken: bool
) -> None:
    path = write(tmp_path / "x.pt", [("archive/data.pkl", b"\x80\x02" + structure), *FOUR])
    for read in READERS[:2]:
        began, memory = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if taken:
            read(path)
        else:
            with pytest.raises(CheckpointRefused):
                read(path)
        assert time.process_time() - began < 5
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 500_000  # KiB


def test_sparse_indices_out_of_range_are_damage_for_every_reader(tmp_path: Path) -> None:
    members = saved({"w": torch.sparse_coo_tensor(torch.tensor([[0, 7]]), torch.ones(2), (9,))})
    beyond = [(name, struct.pack("<2q", 0, 99) if len(content) == 16 else content) for name, content in members]
    assert members != beyond
    for error in refusals(write(tmp_path / "x.pt", beyond)):
        assert isinstance(error, CheckpointDamaged) and "a tensor cannot be" in str(error)


def test_what_torch_saved_is_read_as_torch_reads_it(tmp_path: Path) -> None:
    quantized = {
        "whole": torch.quantize_per_tensor(torch.ones(3), 0.1, 2, torch.qint8),
        "channels": torch.quantize_per_channel(
            torch.ones(2, 3), torch.tensor([0.1, 0.2]), torch.tensor([0, 1]), 0, torch.qint8
        ),
    }
    for index, value in enumerate([*zoo(), quantized, 3, [1, (2.5,)], torch.ones(2), None]):
        path = tmp_path / f"{index}.pt"
        torch.save(value, path)
        assert same(read_plain(path), torch.load(path, weights_only=True))
        read_contents(path)


def test_tied_tensors_share_their_memory_and_nothing_else_does(tmp_path: Path) -> None:
    tied = torch.arange(6.0)
    torch.save({"a": tied, "b": tied.view(2, 3), "c": torch.arange(6.0)}, tmp_path / "x.pt")
    found = read_plain(tmp_path / "x.pt")
    assert found["a"].data_ptr() == found["b"].data_ptr() != found["c"].data_ptr()


def test_a_file_of_a_machine_with_the_other_order_of_bytes_is_read(tmp_path: Path) -> None:
    members = [
        ("archive/data.pkl", calling(V2, strided(storage(), 0, (4,), (1,)))), ("archive/byteorder", b"big"),
        ("archive/version", b"3\n"), ("archive/data/0", struct.pack(">4f", 1, 2, 3, 4)),
    ]  # fmt: skip
    path = write(tmp_path / "x.pt", members)
    assert torch.equal(read_plain(path)["a"], torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert same(read_plain(path), torch.load(path, weights_only=True))
    refusals(write(tmp_path / "y.pt", [members[0], ("archive/byteorder", b"middle"), *members[2:]]))


@pytest.mark.parametrize("moment", ["structure_of", "build"])
def test_a_file_rewritten_in_place_while_it_is_read_is_never_taken_for_what_was_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    import runner.checkpoint.format as reading

    path = tmp_path / "x.pt"
    torch.save({"w": torch.zeros(1000)}, path)
    real, before = getattr(reading, moment), path.stat()

    def rewritten_first(archive: Any, *rest: Any) -> Any:
        content = path.read_bytes().replace(struct.pack("<50f", *[0.0] * 50), struct.pack("<50f", *[1.0] * 50))
        with open(path, "r+b") as file:
            file.write(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        return real(archive, *rest)

    monkeypatch.setattr(reading, moment, rewritten_first)
    with pytest.raises(CheckpointDamaged, match="Bad CRC-32"):
        read_plain(path)


def test_a_file_rewritten_or_cut_after_it_was_read_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save({"w": torch.ones(100_000)}, path)
    found = read_plain(path)["w"]
    with open(path, "r+b") as file:
        file.write(bytes(path.stat().st_size))
    os.truncate(path, 100)
    assert torch.equal(found, torch.ones(100_000))


def test_a_pipe_that_takes_the_place_of_a_file_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.pt"
    torch.save({"w": torch.zeros(1)}, path)
    real = integrity.check_regular

    def replaced_meanwhile(path: Path) -> os.stat_result:
        size = real(path)
        path.unlink()
        os.mkfifo(path)
        return size

    monkeypatch.setattr(integrity, "check_regular", replaced_meanwhile)
    with pytest.raises(CheckpointRefused, match="not a regular file"):
        read_plain(path)


STATE = {"w": torch.arange(6.0), "b": torch.ones(2)}


def appended(path: Path) -> None:
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("w/extra.json", "{}")
        archive.writestr("w/sub/folder/notes.txt", "hello")


def streamed(path: Path) -> None:
    """Write the members with their sizes behind them, as who cannot go back in the file does."""

    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.content = b""

        def writable(self) -> bool:
            return True

        def write(self, content: Any) -> int:
            self.content += bytes(content)
            return len(content)

    with zipfile.ZipFile(path) as old, zipfile.ZipFile(pipe := Pipe(), "w") as new:  # type: ignore[call-overload]
        for name in old.namelist():
            new.writestr(name, old.read(name))
    path.write_bytes(pipe.content)


def rezipped(path: Path, **options: Any) -> None:
    with zipfile.ZipFile(path) as old:
        members = [(name, old.read(name)) for name in old.namelist()]
    with zipfile.ZipFile(path, "w") as new:
        for name, content in [("w/", b""), *members]:
            with new.open(zipfile.ZipInfo(name), "w", **options) as file:
                file.write(content)


SOUND: dict[str, Callable[[Path], None]] = {
    "further members": appended,
    "other members first": lambda path: write(path, [("w/extra.json", b"{}"), *saved_as_w(path)]),
    "packed by Python": rezipped,
    "sizes of 64 bits": lambda path: rezipped(path, force_zip64=True),
    "sizes behind the members": streamed,
    "packed, then added to": lambda path: (rezipped(path), appended(path))[1],
}


def saved_as_w(path: Path) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


@pytest.mark.parametrize("make", SOUND.values(), ids=SOUND)
def test_a_sound_archive_is_read_however_it_was_packed(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "w.pt"
    torch.save(STATE, path)
    make(path)
    assert zipfile.ZipFile(path).testzip() is None
    assert same(torch.load(path, weights_only=True), STATE)
    assert same(read_plain(path), STATE) and verified_header(path).keys() == STATE.keys() and read_contents(path)


def test_a_flipped_bit_of_a_further_member_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save(STATE, path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("w/extra.json", '{"a": "unlikely"}')
    path.write_bytes(path.read_bytes().replace(b"unlikely", b"unlikelx"))
    for error in refusals(path):
        assert isinstance(error, CheckpointDamaged)


@pytest.mark.parametrize("name", ["w/x/data.pkl", "w/DATA.pkl", "x/data.pkl", "W/data.pkl", "w/a/b/Data.PKL"])
@pytest.mark.parametrize("first", [True, False])
def test_a_second_structure_is_refused_wherever_it_stands(tmp_path: Path, name: str, first: bool) -> None:
    path = tmp_path / "w.pt"
    torch.save(STATE, path)
    members, other = saved_as_w(path), (name, b"\x80\x02}.")
    for error in refusals(write(path, [other, *members] if first else [*members, other])):
        assert isinstance(error, CheckpointRefused)
