"""The file that is written from memory is one that `torch.load` and `zipfile` know as torch's own."""

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.serialization import get_unsafe_globals_in_checkpoint

from runner.checkpoint.archive import layout as archive
from runner.checkpoint.archive.framing import find_members
from runner.checkpoint.reader import pickle_machine as machine
from runner.checkpoint.reader import structure
from runner.checkpoint.reader.contents import read_contents
from runner.checkpoint.reader.header import verified_header
from runner.checkpoint.sharded.opening import verify
from runner.checkpoint.writer import readable
from runner.checkpoint.writer.image import Image
from runner.errors import Unsavable
from runner.files import Disk
from tests.support.comparing import difference

TIED = torch.arange(6.0)
ORDINARY = (
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.bool,
)  # fmt: skip
RARE = (torch.complex64, torch.complex128, torch.float8_e4m3fn, torch.uint16, torch.uint32, torch.uint64)
ZOO: dict[str, Any] = {
    "ordinary": {str(dtype): torch.arange(5).to(dtype) for dtype in ORDINARY},
    "rare": {str(dtype): torch.arange(5).to(torch.float32).to(dtype) for dtype in RARE},
    "channels_last": torch.arange(24.0).reshape(1, 2, 3, 4).to(memory_format=torch.channels_last),
    "transposed": torch.arange(6.0).reshape(2, 3).t(),
    "sparse": [torch.eye(3).to_sparse(), torch.eye(4).to_sparse().to(torch.bfloat16)],
    "tied": (TIED, TIED.view(2, 3)),
    "scalar": torch.tensor(2.5),
    "empty": [torch.empty(0), torch.empty(3, 0)],
    "plain": {"text": "ä", 3: [None, True, 2**70, 0.1, b"x", {1, 2}], "size": torch.Size([2]), "dtype": torch.half},
}


def written(image: Image, path: Path) -> Path:
    """Write what an image took."""
    with open(path, "wb") as file:
        image.write(file, Disk())
    return path


def taken(content: dict[str, Any]) -> Image:
    """Return an image of the content."""
    image = Image()
    image.take(content)
    return image


def assert_equal(one: Any, other: Any) -> None:
    """Assert equality also where torch cannot compare: rare types by their bytes, sparse tensors by their elements."""
    if isinstance(one, torch.Tensor) and one.layout is not torch.strided:
        assert torch.equal(one.to_dense(), other.to_dense())
    elif isinstance(one, torch.Tensor):
        assert (one.dtype, one.shape, one.stride()) == (other.dtype, other.shape, other.stride())
        assert bytes(one.untyped_storage()) == bytes(other.untyped_storage())
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal(one[key], other[key])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            assert_equal(left, right)
    else:
        assert one == other and type(one) is type(other)


@pytest.mark.parametrize("mapped", [False, True])
def test_torch_reads_every_kind_of_tensor_back(tmp_path: Path, mapped: bool) -> None:
    path = written(taken(ZOO), tmp_path / "zoo.tar")
    found = torch.load(path, weights_only=True, mmap=mapped)
    assert_equal(ZOO, found)
    assert found["tied"][0].data_ptr() == found["tied"][1].data_ptr()
    assert get_unsafe_globals_in_checkpoint(path) == []


def test_a_tensor_that_was_read_has_hooks_of_its_own(tmp_path: Path) -> None:
    found = torch.load(written(taken({"a": torch.ones(1), "b": torch.ones(1)}), tmp_path / "x.tar"), weights_only=True)
    seen = []
    found["a"].requires_grad_().register_hook(seen.append)
    (found["b"].requires_grad_() * 2).sum().backward()
    assert seen == []


def test_the_archive_is_whole_in_the_eyes_of_zipfile_and_of_our_own_checks(tmp_path: Path) -> None:
    path = written(taken(ZOO), tmp_path / "zoo.tar")
    with zipfile.ZipFile(path) as found:
        assert found.testzip() is None
    verify(path)
    read_contents(path)
    with open(path, "rb") as file:
        members = zipfile.ZipFile(file).infolist()
    starts = [m.header_offset + 30 + len(m.filename) for m in members]
    assert all(m.compress_type == zipfile.ZIP_STORED for m in members) and starts == sorted(starts)


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    one, other = written(taken(ZOO), tmp_path / "one.tar"), written(taken(ZOO), tmp_path / "other.tar")
    assert one.read_bytes() == other.read_bytes()


def test_what_was_taken_stays_what_it_was_while_the_state_goes_on(tmp_path: Path) -> None:
    weight = torch.arange(100_000.0)
    image = taken({"weight": weight})
    before = weight.clone()
    weight.mul_(3)
    found = torch.load(written(image, tmp_path / "x.tar"), weights_only=True)
    assert torch.equal(found["weight"], before)
    assert torch.equal(image.tensor(weight), before)


def test_an_image_follows_a_state_that_grows_shrinks_and_changes(tmp_path: Path) -> None:
    image = Image()
    states: list[dict[str, Any]] = [
        {"a": torch.ones(3)},
        {"a": torch.ones(3), "b": [torch.zeros(3 << 20), torch.ones(2)]},
        {"a": torch.full((3,), 2.0), "b": [torch.ones(7), torch.ones(2)], "c": "text"},
        {},
        {"a": torch.full((3,), 4.0)},
    ]
    for state in states:
        image.take(state)
        path = written(image, tmp_path / "x.tar")
        verify(path)
        assert difference(torch.load(path, weights_only=True), state) is None


@pytest.mark.slow
def test_more_members_than_a_short_archive_can_count(tmp_path: Path) -> None:
    state = {"many": [torch.tensor(float(i)) for i in range(66_000)]}
    path = written(taken(state), tmp_path / "many.tar")
    verify(path)
    assert torch.equal(torch.stack(torch.load(path, weights_only=True)["many"]), torch.arange(66_000.0))


def test_members_beyond_four_gigabytes_are_framed_as_zipfile_reads_them(tmp_path: Path) -> None:
    sizes = [5 << 30, 3, 0, 0xFFFFFFFF, 8]
    members: list[archive.Member] = []
    with open(tmp_path / "large.zip", "wb") as file:  # holes: it takes no space
        for index, size in enumerate(sizes):
            members.append(archive.place(f"data/{index}", size, members[-1].end if members else 0, 7))
            file.seek(members[-1].header)
            file.write(archive.local_header(members[-1]))
        file.seek(members[-1].end)
        file.write(archive.directory(members, members[-1].end))
    with zipfile.ZipFile(tmp_path / "large.zip") as found, open(tmp_path / "large.zip", "rb") as file:
        assert [m.file_size for m in found.infolist()] == sizes
        assert find_members(file.fileno(), found.infolist(), found.start_dir, file.seek(0, io.SEEK_END)) == members
    assert all(member.start % 64 == 0 for member in members)


TOO_LARGE = {
    "bytes": ((readable, "LARGEST"),),
    "tensors": ((readable, "LARGEST_DIRECTORY"),),
    "steps": ((structure, "_MOST_STEPS"), (structure, "_STEPS_OF_TENSOR")),
}


@pytest.mark.parametrize("bounds", TOO_LARGE.values(), ids=TOO_LARGE)
def test_what_a_reader_would_refuse_as_too_large_is_refused_when_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bounds: Any
) -> None:
    image = taken({"model_state_dict": {str(index): torch.ones(1) for index in range(9)}})
    verify(written(image, tmp_path / "fits.tar"))
    for module, name in bounds:
        monkeypatch.setattr(module, name, 9)
    with pytest.raises(Unsavable, match="read again"):
        written(image, tmp_path / "large.tar")


@pytest.mark.parametrize(
    "keys", [lambda i: (i, 0), lambda i: i << 30, lambda i: i + 0.5], ids=["pairs", "wide", "floats"]
)
def test_as_many_odd_keys_are_written_as_can_be_read_and_no_more(tmp_path: Path, keys: Any) -> None:
    table = {keys(index): index for index in range(1, machine.MOST_ODD_KEYS + 2)}
    with pytest.raises(Unsavable, match="cannot be read again"):
        written(taken({"learner_state_dict": table}), tmp_path / "large.tar")
    del table[keys(5)], table[keys(6)]
    path = written(taken({"learner_state_dict": table}), tmp_path / "fits.tar")
    assert verified_header(path)["learner_state_dict"] == table


def test_numbers_that_count_are_keys_without_end(tmp_path: Path) -> None:
    table = {index: None for index in range(4 * machine.MOST_ODD_KEYS)}
    path = written(taken({"learner_state_dict": table}), tmp_path / "fits.tar")
    assert verified_header(path)["learner_state_dict"] == table


def test_bytes_that_no_reader_would_take_are_refused_when_they_are_written(tmp_path: Path) -> None:
    with pytest.raises(Unsavable, match="65 MiB beside its tensors"):
        written(taken({"vocabulary": b"x" * (65 << 20)}), tmp_path / "large.tar")


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor", "ignore:TypedStorage is deprecated")
def test_quantized_tensors_are_written_with_their_scales(tmp_path: Path) -> None:
    whole = torch.quantize_per_tensor(torch.ones(5), 0.1, 3, torch.qint8)
    scales, zeros = torch.arange(1.0, 4.0), torch.zeros(3).long()
    each = torch.quantize_per_channel(torch.ones(3, 2), scales, zeros, 0, torch.qint8)
    path = written(taken({"whole": whole, "each": each}), tmp_path / "q.tar")
    found = torch.load(path, weights_only=True)
    assert all(torch.equal(found[name], value) for name, value in (("whole", whole), ("each", each)))
    assert found["each"].q_per_channel_scales().tolist() == [1.0, 2.0, 3.0]
