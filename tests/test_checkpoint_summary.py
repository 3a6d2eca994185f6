"""`runner.json` in a checkpoint: read by any tool, passed over by torch, and never other than what the file holds."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from runner.checkpoint.format import read_entries
from runner.checkpoint.reader.header import read_header, verified_header
from runner.checkpoint.reader.summary import summary
from runner.errors import CheckpointDamaged
from tests.support.comparing import entries_of
from tests.support.forged_archives import write


def members_of(path: Path) -> list[tuple[str, bytes]]:
    """Return the members of an archive, each with its content."""
    with zipfile.ZipFile(path) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def said_in(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("archive/runner.json"))


def test_any_tool_reads_what_a_checkpoint_says_of_itself(written: Callable[..., Path]) -> None:
    path = written(metrics={"val/loss": 0.25, "val/f1": float("nan")}, environment={"torch": "2", "seen": (1, None)})
    said = said_in(path)
    assert {key: said[key] for key in ("epoch", "global_step", "loss", "config")} == {
        "epoch": 1, "global_step": 7, "loss": 0.5, "config": "seed: 0\n"
    }  # fmt: skip
    assert said["metrics"] == {"val/loss": 0.25, "val/f1": "nan"} and said["environment"]["seen"] == [1, None]
    assert said["tensors"] == {
        "model_state_dict.weight": {"dtype": "torch.float32", "shape": [2, 3]},
        "model_state_dict.bias": {"dtype": "torch.float32", "shape": [2]},
    }


def test_torch_passes_over_it_and_it_is_the_same_from_what_is_read_as_from_what_is_written(checkpoint: Path) -> None:
    loaded = entries_of(checkpoint)
    assert torch.load(checkpoint, weights_only=True, mmap=True).keys() == loaded.keys()
    assert summary(loaded) == summary(read_header(checkpoint)) == summary(read_entries(checkpoint))
    assert json.loads(summary(loaded)) == said_in(checkpoint)


@pytest.mark.parametrize("reader", [read_header, verified_header, read_entries])
@pytest.mark.parametrize("change", [(b'"global_step": 7', b'"global_step": 8'), (b"[2, 3]", b"[3, 2]"), (b"}", b"")])
def test_a_file_that_says_something_else_than_it_holds_is_damaged(
    checkpoint: Path, reader: Callable[[Path], Any], change: tuple[bytes, bytes]
) -> None:
    forged = [
        (name, content.replace(*change) if name.endswith("runner.json") else content)
        for name, content in members_of(checkpoint)
    ]
    write(checkpoint, forged)
    with pytest.raises(CheckpointDamaged, match=r"runner\.json disagrees with its content"):
        reader(checkpoint)


def test_a_file_without_it_is_read_as_before(checkpoint: Path) -> None:
    write(checkpoint, [member for member in members_of(checkpoint) if not member[0].endswith("runner.json")])
    assert read_entries(checkpoint)["global_step"] == 7
