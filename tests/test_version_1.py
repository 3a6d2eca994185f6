"""A checkpoint of version 1 of the format, as it was once written, opens and goes on for ever."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch

import runner
from runner.checkpoint.format import read_entries
from runner.checkpoint.schema import VERSION
from tests.support import REPOSITORY, cli, entries_of

FILE = REPOSITORY / "tests/data/version_1.tar"


def described(value: Any) -> Any:
    """Return a value with each tensor as its type, shape and numbers."""
    if isinstance(value, torch.Tensor):
        return [str(value.dtype), list(value.shape), value.tolist()]
    if isinstance(value, dict):
        return {str(key): described(one) for key, one in value.items()}
    return [described(one) for one in value] if isinstance(value, (list, tuple)) else value


def test_its_content_is_what_it_was() -> None:
    entries = entries_of(FILE)
    text = json.dumps(described(entries), sort_keys=True)
    assert (
        hashlib.sha256(text.encode()).hexdigest() == "5e0cec1547f0593dad1d64586989f30c8ea7d289b748e9feca5792a5a40943eb"
    )
    assert (entries["version"], entries["epoch"], entries["global_step"]) == (1, 1, 3)


def test_it_is_read_as_a_file_of_today_without_the_overrides_that_made_it() -> None:
    raw, entries = entries_of(FILE), read_entries(FILE)
    assert raw.keys() - entries.keys() == {"overrides"} and entries["version"] == VERSION
    kept = {name: value for name, value in raw.items() if name not in ("overrides", "version")}
    assert described({**entries, "version": None}) == described({**kept, "version": None})


def test_a_run_goes_on_from_it(tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = cli(capsys, f"resume={FILE}", "name=x")
    assert outcome.code == 0 and "as a fork of" in outcome.out and "step 5/5" in outcome.out, outcome.err
    assert set(entries_of(Path("outputs/x/last.tar"))) == set(entries_of(FILE)) - {"overrides"} | {"data_identity"}


def test_it_is_evaluated_and_loaded(tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = cli(capsys, "task=evaluate", f"checkpoint_path={FILE}", "data.split=val")
    assert outcome.code == 0 and json.loads(outcome.out.splitlines()[-1])["loss"] > 0
    assert torch.equal(
        runner.load(FILE).state_dict()["layers.1.bias"], read_entries(FILE)["ema_state_dict"]["layers.1.bias"]
    )
