import copy
import errno
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.serialization import get_unsafe_globals_in_checkpoint

from runner.checkpoint.format import (
    FORMAT,
    VERSION,
    compose_entries,
    read_entries,
    restore,
    restore_part,
)
from runner.errors import (
    CheckpointDamaged,
    CheckpointError,
    CheckpointMismatch,
    CheckpointRefused,
    Unsavable,
)
from tests.support.checkpoints import write_entries
from tests.support.processes import python

ROOT = Path(__file__).resolve().parents[1]


class Touching:
    """Creates a file when it is unpickled by anything that runs what a pickle says."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self._marker),)


class Metered:
    """A part whose state is one value of the caller's choice."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def state_dict(self) -> dict[str, Any]:
        return {"value": self.value}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.value = state["value"]


def test_what_was_written_is_read(checkpoint: Path, entries: dict[str, Any]) -> None:
    found = read_entries(checkpoint)
    assert found.keys() == entries.keys()
    assert torch.equal(found["model_state_dict"]["weight"], entries["model_state_dict"]["weight"])
    assert {key: found[key] for key in ("epoch", "global_step", "loss", "format", "version")} == {
        "epoch": 1,
        "global_step": 7,
        "loss": 0.5,
        "format": FORMAT,
        "version": VERSION,
    }


def test_the_file_opens_with_plain_pytorch(checkpoint: Path) -> None:
    stored = torch.load(checkpoint, weights_only=True)
    model = torch.nn.Linear(3, 2)
    model.load_state_dict(stored["model_state_dict"])
    assert get_unsafe_globals_in_checkpoint(checkpoint) == []


def test_the_states_of_all_usual_parts_need_no_trust(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    optimizer = torch.optim.Adam(model.named_parameters())
    model(torch.ones(4, 3)).sum().backward()
    optimizer.step()
    parts = {
        "model": model,
        "optimizer": optimizer,
        "scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 2),
        "ema": torch.optim.swa_utils.AveragedModel(model),
        "scaler": torch.amp.GradScaler("cpu"),
    }
    with open(tmp_path / "last.tar", "wb") as file:
        write_entries(file, compose_entries(parts, {"epoch": 1}))
    assert get_unsafe_globals_in_checkpoint(tmp_path / "last.tar") == []


def test_a_state_that_is_not_plain_names_its_part_and_key() -> None:
    with pytest.raises(Unsavable, match=r"^meter_state_dict\.value is a pathlib"):
        compose_entries({"meter": Metered(Path("x"))}, {})


def test_a_full_disk_is_reported_as_such(entries: dict[str, Any]) -> None:
    with pytest.raises(OSError) as caught, open("/dev/full", "wb", buffering=0) as file:
        write_entries(file, entries)
    assert caught.value.errno == errno.ENOSPC


def test_a_full_disk_is_reported_through_a_buffer_too(entries: dict[str, Any]) -> None:
    large = {**entries, "model_state_dict": {"weight": torch.zeros(1 << 20)}}
    file = open("/dev/full", "wb")  # noqa: SIM115
    with pytest.raises(OSError) as caught:
        write_entries(file, large)
    assert caught.value.errno == errno.ENOSPC
    file.close()


def test_pickled_code_is_refused_and_not_run(written: Callable[..., Path], tmp_path: Path) -> None:
    path = written(evil=Touching(tmp_path / "marker"))
    with pytest.raises(CheckpointRefused, match="nothing was executed") as caught:
        read_entries(path)
    assert not (tmp_path / "marker").exists()
    assert "weights_only" not in str(caught.value) and caught.value.__cause__ is None


def test_pickled_code_is_not_run_when_the_environment_asks_for_it(written: Callable[..., Path], tmp_path: Path) -> None:
    path = written(evil=Touching(tmp_path / "marker"))
    program = """
import sys
from pathlib import Path
from runner.checkpoint.format import read_entries
from runner.errors import CheckpointRefused
try:
    read_entries(Path(sys.argv[1]))
except CheckpointRefused as error:
    print(error)
"""
    answer = python(tmp_path, "-c", program, str(path), TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD="1").stdout
    assert "nothing was executed" in answer and "weights_only" not in answer
    assert not (tmp_path / "marker").exists()


def test_a_pickled_module_is_refused(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "last.tar")
    with pytest.raises(CheckpointRefused, match="more than tensors and plain values"):
        read_entries(tmp_path / "last.tar")


def test_a_tensor_without_the_bytes_it_claims_is_refused(written: Callable[..., Path]) -> None:
    path = written(model_state_dict={"weight": torch.zeros(1).expand(1 << 33)})
    assert path.stat().st_size < 10_000
    with pytest.raises(CheckpointRefused, match=r"model_state_dict\.weight claims more elements"):
        read_entries(path)


def test_a_newer_version_is_answered_with_an_update(written: Callable[..., Path]) -> None:
    with pytest.raises(CheckpointRefused, match="newer version of this program"):
        read_entries(written(version=VERSION + 1))


@pytest.mark.parametrize("version", [0, -1, 1.0, True, "1", None])
def test_an_impossible_version_is_refused(written: Callable[..., Path], version: Any) -> None:
    with pytest.raises(CheckpointRefused, match="invalid version"):
        read_entries(written(version=version))


@pytest.mark.parametrize("content", [{"model": 1}, {"format": "other"}, [1], 3])
def test_another_programs_content_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "last.tar")
    with pytest.raises(CheckpointRefused, match="is not a checkpoint of this program"):
        read_entries(tmp_path / "last.tar")


@pytest.mark.parametrize(
    "changes",
    [
        {"epoch": "1"},
        {"epoch": -1},
        {"epoch": True},
        {"global_step": 1.0},
        {"global_step": -1},
        {"global_step": 2**53},
        {"loss": 1},
        {"metrics": None},
        {"config": {}},
        {"data_identity": "digits"},
    ],
    ids=str,
)
def test_an_entry_of_another_kind_is_refused_by_name(written: Callable[..., Path], changes: dict[str, Any]) -> None:
    with pytest.raises(CheckpointRefused, match=next(iter(changes))):
        read_entries(written(**changes))


def test_a_missing_entry_is_refused_by_name(tmp_path: Path, entries: dict[str, Any]) -> None:
    del entries["metrics"]
    with open(tmp_path / "last.tar", "wb") as file:
        write_entries(file, entries)
    with pytest.raises(CheckpointRefused, match="`metrics` is missing, wanted dict"):
        read_entries(tmp_path / "last.tar")


def test_a_wrong_pickle_in_a_right_archive_is_turned_down(checkpoint: Path) -> None:
    for structure in (b"", b"hello", b"\x80\x02", b"\x80\x02h\x09.", b"\x80\x02K\x01}b."):
        with zipfile.ZipFile(checkpoint, "w") as archive:
            archive.writestr("last/data.pkl", structure)
            archive.writestr("last/version", "3\n")
            archive.writestr("last/byteorder", "little")
        with pytest.raises(CheckpointError) as caught:
            read_entries(checkpoint)
        assert "weights_only" not in str(caught.value)


def test_restored_parts_equal_the_saved_ones(checkpoint: Path, entries: dict[str, Any]) -> None:
    model = torch.nn.Linear(3, 2)
    restore({"model": model}, read_entries(checkpoint), checkpoint)
    assert torch.equal(model.weight, entries["model_state_dict"]["weight"])


def test_a_missing_part_is_named(checkpoint: Path, entries: dict[str, Any]) -> None:
    parts = {"model": torch.nn.Linear(3, 2), "meter": Metered(1)}
    with pytest.raises(CheckpointMismatch, match="lacks the state of meter; it has model"):
        restore(parts, entries, checkpoint)


def test_an_unexpected_part_is_named(checkpoint: Path, entries: dict[str, Any]) -> None:
    with pytest.raises(CheckpointMismatch, match=r"has the state of model, which .* needs meter"):
        restore({"meter": Metered(1)}, {**entries, "meter_state_dict": {"value": 2}}, checkpoint)


def test_nothing_is_restored_when_the_parts_differ(checkpoint: Path, entries: dict[str, Any]) -> None:
    model = torch.nn.Linear(3, 2)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(CheckpointMismatch):
        restore({"model": model, "meter": Metered(1)}, entries, checkpoint)
    assert torch.equal(model.weight, before["weight"])


@pytest.mark.parametrize(
    "part", [torch.nn.Linear(4, 2), torch.nn.BatchNorm1d(2), Metered(1)], ids=lambda part: type(part).__name__
)
def test_a_part_that_does_not_fit_is_named_in_one_line(checkpoint: Path, entries: dict[str, Any], part: Any) -> None:
    with pytest.raises(CheckpointMismatch, match="its model_state_dict belongs to another model") as caught:
        restore_part("model", part, entries["model_state_dict"], checkpoint)
    assert "\n" not in str(caught.value)


def test_the_three_kinds_of_error_are_told_apart(checkpoint: Path) -> None:
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1])
    with pytest.raises(CheckpointDamaged):
        read_entries(checkpoint)
    assert not issubclass(CheckpointDamaged, CheckpointRefused | CheckpointMismatch)
