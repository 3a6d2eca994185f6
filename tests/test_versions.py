"""A checkpoint of each version of the format, as it was once written, opens and goes on for ever."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch

import runner
from runner.checkpoint.format import read_entries
from runner.checkpoint.reader.entries import VERSION
from tests.support import REPOSITORY
from tests.support.command_line import cli
from tests.support.comparing import entries_of

# What each file holds, which never changes.
DIGESTS = {
    1: "5e0cec1547f0593dad1d64586989f30c8ea7d289b748e9feca5792a5a40943eb",
    2: "a5b541ac06b6bc5f039c6f98a922a595c199769b15cb827a479828f7cf5fd2b0",
}
VERSIONS = pytest.mark.parametrize("version", DIGESTS)


def file_of(version: int) -> Path:
    return REPOSITORY / f"tests/data/version_{version}.tar"


def described(value: Any) -> Any:
    """Return a value with each tensor as its type, shape and numbers."""
    if isinstance(value, torch.Tensor):
        return [str(value.dtype), list(value.shape), value.tolist()]
    if isinstance(value, dict):
        return {str(key): described(one) for key, one in value.items()}
    return [described(one) for one in value] if isinstance(value, (list, tuple)) else value


def test_each_version_has_its_file() -> None:
    assert list(DIGESTS) == list(range(1, VERSION + 1))


@VERSIONS
def test_its_content_is_what_it_was(version: int) -> None:
    entries = entries_of(file_of(version))
    text = json.dumps(described(entries), sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest() == DIGESTS[version]
    assert (entries["version"], entries["epoch"], entries["global_step"]) == (version, 1, 3)


@VERSIONS
def test_it_is_read_as_a_file_of_today(version: int) -> None:
    raw, entries = entries_of(file_of(version)), read_entries(file_of(version))
    assert raw.keys() - entries.keys() == ({"overrides"} if version == 1 else set()) and entries["version"] == VERSION
    kept = {name: value for name, value in raw.items() if name not in ("overrides", "version")}
    assert described({**entries, "version": None}) == described({**kept, "version": None})


@VERSIONS
def test_a_run_goes_on_from_it(version: int, work: Path, capsys: Any) -> None:
    outcome = cli(capsys, f"resume={file_of(version)}", "name=x")
    assert outcome.code == 0 and "as a fork of" in outcome.out and "step 5/5" in outcome.out, outcome.err
    assert set(entries_of(Path("outputs/x/last.tar"))) == set(entries_of(file_of(2)))


@VERSIONS
def test_it_is_evaluated_and_loaded(version: int, work: Path, capsys: Any) -> None:
    outcome = cli(capsys, "task=evaluate", f"checkpoint_path={file_of(version)}", "data.split=val")
    assert outcome.code == 0 and json.loads(outcome.out.splitlines()[-1])["loss"] > 0
    loaded, average = runner.load(file_of(version)).state_dict(), read_entries(file_of(version))["ema_state_dict"]
    assert torch.equal(loaded["layers.1.bias"], average["layers.1.bias"])
