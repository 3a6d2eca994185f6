"""Files of other kinds are refused as what they are, with a way out that works."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from runner.checkpoint.archive.foreign import check_known
from runner.checkpoint.format import read_plain
from runner.checkpoint.reader.header import read_header
from runner.checkpoint.sharded.opening import verify
from runner.commands.tools.verify import verify_command
from runner.errors import CheckpointDamaged, CheckpointRefused
from tests.support.command_line import cli


def _legacy(path: Path) -> None:
    torch.save(nn.Linear(3, 2).state_dict(), path, _use_new_zipfile_serialization=False)


def _safetensors(path: Path) -> None:
    save_file(nn.Linear(3, 2).state_dict(), path)


def _text(path: Path) -> None:
    path.write_text("läse mich: no checkpoint\n" * 40, encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "make", "says"),
    [
        ("old.pth", _legacy, r"before torch 1\.6.*weights_only=True"),
        ("w.safetensors", _safetensors, r"safetensors file.*warm_start\.path=.*w\.safetensors"),
        ("w.pth", _safetensors, r"safetensors file.*end in \.safetensors"),
        ("readme.tar", _text, "a text file"),
    ],
)
def test_a_file_of_another_kind_is_refused_by_its_name(
    tmp_path: Path, name: str, make: Callable[[Path], None], says: str
) -> None:
    make(tmp_path / name)
    with pytest.raises(CheckpointRefused, match=says):
        verify(tmp_path / name)


def test_the_old_form_becomes_readable_by_the_words_that_refuse_it(tmp_path: Path) -> None:
    _legacy(tmp_path / "old.pth")
    torch.save(torch.load(tmp_path / "old.pth", weights_only=True), tmp_path / "new.pt")
    assert read_plain(tmp_path / "new.pt").keys() == {"weight", "bias"}


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_the_beginning_of_a_checkpoint_is_no_text(checkpoint: Path, length: int) -> None:
    checkpoint.write_bytes(checkpoint.read_bytes()[:length])
    check_known(checkpoint, checkpoint.read_bytes())
    with pytest.raises(CheckpointDamaged):
        verify(checkpoint)


def test_a_whole_module_is_refused_with_the_page_that_says_how_to_make_weights_of_it(tmp_path: Path) -> None:
    path = tmp_path / "whole.pt"
    torch.save(nn.Linear(3, 2), path)
    for read in (read_plain, read_header):
        with pytest.raises(CheckpointRefused, match=r"docs/warm-start\.md"):
            read(path)


def test_what_another_program_wrote_is_refused_and_not_damaged(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = tmp_path / "bare.pth"
    torch.save(nn.Linear(3, 2).state_dict(), bare)
    cut = tmp_path / "cut.tar"
    cut.write_bytes(checkpoint.read_bytes()[:-1])
    assert verify_command([str(bare), str(checkpoint), str(cut)], as_json=True) == 2
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["files"]
    assert [(file["ok"], file["state"]) for file in found] == [(False, "refused"), (True, "ok"), (False, "damaged")]
    assert "warm_start.path=" in found[0]["reason"]


def test_a_checkpoint_without_a_config_cannot_be_evaluated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tutorial.tar"
    torch.save({"epoch": 1, "model_state_dict": nn.Linear(3, 2).state_dict()}, path)
    answer = cli(capsys, "task=evaluate", f"checkpoint_path={path}")
    assert answer.code == 2
    assert f"warm_start.path={path}" in answer.err
