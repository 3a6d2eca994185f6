import io
import pickle
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from runner.checkpoint.reader import header
from runner.checkpoint.reader.header import Inert, read_header
from runner.errors import CheckpointDamaged, CheckpointError, CheckpointRefused
from tests.support.processes import python

ROOT = Path(__file__).resolve().parents[1]


class Touching:
    """Creates a file when it is unpickled by anything that runs what a pickle says."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self._marker,)


def zipped(path: Path, structure: bytes) -> Path:
    """Write an archive that holds `structure` as its pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", structure)
    return path


def test_the_header_is_what_the_file_says_of_itself(checkpoint: Path) -> None:
    found = read_header(checkpoint)
    assert found["global_step"] == 7 and found["metrics"] == {"val/loss": 0.25}
    assert found["config"] == "seed: 0\n"


def test_tensors_are_inert(checkpoint: Path) -> None:
    state = read_header(checkpoint)["model_state_dict"]
    assert set(state) == {"weight", "bias"}
    assert all(isinstance(value, Inert) for value in state.values())


def test_states_of_every_shape_can_be_read(written: Callable[..., Path]) -> None:
    layer = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(layer.parameters())
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    odd = {"sparse": torch.eye(2).to_sparse(), "half": torch.ones(1).bfloat16(), "set": {1, 2}, "n": 3}
    path = written(optimizer_state_dict=optimizer.state_dict(), odd_state_dict=odd)
    found = read_header(path)
    assert found["optimizer_state_dict"]["param_groups"][0]["lr"] == 0.001
    assert found["odd_state_dict"].keys() == odd.keys() and found["odd_state_dict"]["n"] == 3


def test_nothing_that_the_file_names_is_run(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    torch.save({"global_step": 3, "evil": Touching(marker)}, tmp_path / "x.tar")
    with pytest.raises(CheckpointRefused, match=r"more than tensors and plain values \("):
        read_header(tmp_path / "x.tar")
    assert not marker.exists()


def test_nothing_is_imported_for_a_header(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "imported.py").write_text("raise SystemExit('imported')")
    zipped(tmp_path / "naming.tar", pickle.dumps({"a": 1}, 2)[:-1] + b"cimported\nthing\n)R0.")
    program = """
import sys
from pathlib import Path
from runner.checkpoint.reader.header import read_header
from runner.errors import CheckpointRefused
assert read_header(Path(sys.argv[1]))["global_step"] == 7
try:
    read_header(Path(sys.argv[2]))
except CheckpointRefused as error:
    assert "(imported.thing)" in str(error)
else:
    raise AssertionError
assert "torch" not in sys.modules and "imported" not in sys.modules
"""
    done = python(tmp_path, "-c", program, str(checkpoint), str(tmp_path / "naming.tar"))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("value", [3, [1], "text", None])
def test_a_file_without_named_entries_is_refused(tmp_path: Path, value: Any) -> None:
    torch.save(value, tmp_path / "x.tar")
    with pytest.raises(CheckpointRefused, match="not a dictionary"):
        read_header(tmp_path / "x.tar")


def test_an_object_at_the_top_is_refused(tmp_path: Path) -> None:
    torch.save(Touching(tmp_path / "marker"), tmp_path / "x.tar")
    with pytest.raises(CheckpointRefused, match="more than tensors"):
        read_header(tmp_path / "x.tar")


def test_a_structure_of_unreasonable_size_is_refused(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header, "LARGEST", 10)
    with pytest.raises(CheckpointRefused, match="too many"):
        read_header(checkpoint)


def test_a_pickle_that_asks_for_memory_gets_none(tmp_path: Path) -> None:
    memo = b"\x80\x02}r" + (2**31 - 1).to_bytes(4, "little") + b"."
    began = time.monotonic()
    assert read_header(zipped(tmp_path / "x.tar", memo)) == {}
    assert time.monotonic() - began < 1


STRANGE = {
    "cut": pickle.dumps({"a": [1, 2, 3]})[:-4],
    "empty": b"",
    "no pickle": b"hello",
    "stack underflow": b"\x80\x020000.",
    "missing memo": b"\x80\x02h\x09.",
    "extension": b"\x80\x02\x82\x01.",
    "unhashable key": b"\x80\x02}]K\x01s.",
    "long text": b"\x80\x04\x8d" + (2**62).to_bytes(8, "little") + b".",
    "long text of few bytes": b"\x80\x02}X\xff\xff\xff\xffabc.",
    "text of other bytes": b"\x80\x02}X\x02\0\0\0\xff\xfes.",
    "half a number": b"\x80\x02G\0\0\0",
    "no end": b"\x80\x02}q\0",
    "key without a value": b"\x80\x02}(K\x01u.",
    "below the mark": b"\x80\x02](R.",
    "out-of-band buffer": b"\x80\x05\x97.",
    "state for a number": b"\x80\x02K\x01}b.",
    "recursion": b"\x80\x02" + b"(" * 100_000 + b"t" * 100_000 + b".",
}


@pytest.mark.parametrize("structure", STRANGE.values(), ids=STRANGE.keys())
def test_a_broken_structure_is_an_error_about_the_checkpoint(tmp_path: Path, structure: bytes) -> None:
    with pytest.raises(CheckpointError):
        read_header(zipped(tmp_path / "x.tar", structure))


@pytest.mark.parametrize("content", [b"", b"hel\0", bytes(1000), b"PK\x03\x04"])
def test_what_is_no_archive_is_damaged(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.tar").write_bytes(content)
    with pytest.raises(CheckpointDamaged, match="is damaged"):
        read_header(tmp_path / "x.tar")


def test_an_absent_file_is_an_error_about_the_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        read_header(tmp_path / "x.tar")


def test_an_archive_without_a_structure_is_damaged(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    zipfile.ZipFile(buffer, "w").close()
    (tmp_path / "x.tar").write_bytes(buffer.getvalue())
    with pytest.raises(CheckpointDamaged):
        read_header(tmp_path / "x.tar")
