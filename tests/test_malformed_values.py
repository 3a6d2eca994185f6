"""Whatever value stands in a file of a run: it is what it should be, or the answer is one sentence, or it is absent."""

import copy
import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from runner.commands.tools.listing.command import Asked, list_json_command
from runner.commands.tools.report import report_command
from runner.errors import RunnerError
from runner.run_directory.ownership import Ownership
from runner.run_directory.status import read_status
from runner.strategy.processes import Alone
from runner.sweeps.results.table import curve
from runner.tracking.csv_file import CsvTracker
from runner.wiring.config.compose import hydra_session, register
from runner.wiring.starts.choose import choose_start
from runner.wiring.starts.prepare import prepare
from tests.support.command_line import SMALL, cli

NOW = "2026-01-01T00:00:00+00:00"
STATUS = {
    "state": "finished", "step": 5, "epoch": 1, "attempt": 1, "reason": None, "best_metric": 0.5, "pid": 1,
    "host": "elsewhere", "started": NOW, "updated": NOW, "test": {"loss": 0.25},
}  # fmt: skip
SWEEP = {"monitor": "val/loss", "mode": "min", "jobs": {"a": ["seed=0"], "b": ["seed=1"]}, "metrics": {}, "pruned": []}
METRICS = "step,epoch,train/loss,val/loss,seconds\n1,1,0.5,0.25,1.0\n2,2,0.5,0.2,2.0\n"
ODD = [
    "null", "true", "-1", "1.5", "1e999", "NaN", "-Infinity", str(10**400), "1" * 5000, str(2**70), '"x"', '"\\ud800"',
    '"\\u001b[2J"', '"99999-01-01T00:00:00"', "[]", "{}", "[1]", '{"x": null}', '{"x": [[]]}', "[" * 5000 + "]" * 5000,
    "",
]  # fmt: skip


def sweep(folder: Path) -> None:
    """Leave a sweep of two jobs."""
    (folder / "sweep.json").write_text(json.dumps(SWEEP))
    for name in SWEEP["jobs"]:
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "status.json").write_text(json.dumps(STATUS))
        (folder / name / "metrics.csv").write_text(METRICS)
        (folder / name / "parent.json").write_text('{"checkpoint": "x", "epoch": 1, "global_step": 3}')
        (folder / name / "config.yaml").write_text("seed: 0\nmodel: {lr: 0.1}\n")
        (folder / name / "environment.json").write_text('{"git_commit": "x", "git_diff": ""}')


def answers(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Let everything read what lies there; each answers, or raises one sentence."""
    list_json_command(Asked(str(folder)))
    for command in (lambda: report_command(str(folder), as_json=True), lambda: CsvTracker(folder / "a", first_step=9)):
        try:
            command()
        except RunnerError as error:
            assert "Traceback" not in str(error) and len(str(error)) < 1000
    curve(folder / "a", "val/loss")
    status = read_status(folder / "a")
    assert status is None or (status.best_metric is None or math.isfinite(status.best_metric))
    assert capsys.readouterr().out.isascii()


def spoiled(entries: dict[str, Any], key: str, value: str) -> str:
    """Return the JSON of entries of which one has another value, word for word."""
    return json.dumps({**entries, key: "PLACE"}).replace('"PLACE"', value)


@pytest.mark.parametrize("value", ODD, ids=lambda value: value[:12])
def test_no_value_of_a_small_file_is_a_traceback(
    value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for key in STATUS:
        sweep(tmp_path)
        (tmp_path / "a/status.json").write_text(spoiled(STATUS, key, value))
        answers(tmp_path, capsys)
    for key in SWEEP:
        sweep(tmp_path)
        (tmp_path / "sweep.json").write_text(spoiled(SWEEP, key, value))
        answers(tmp_path, capsys)
    for column in range(5):
        sweep(tmp_path)
        fields = ["3", "3", "0.5", "0.5", "3.0"]
        fields[column] = value
        (tmp_path / "a/metrics.csv").write_text(METRICS + ",".join(fields) + "\n")
        answers(tmp_path, capsys)


def test_a_status_is_believed_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    for key, values in {
        "step": ["-1", "true", "1.5", "null"], "best_metric": ["true", '"0"', "NaN", str(10**400)],
        "test": ["[]", '{"x": true}'],
        "reason": ["1", '"\\udc80"'], "started": ['"99999-01-01T00:00:00"', '"then"', "0"], "host": ["null"],
    }.items():  # fmt: skip
        for value in values:
            (tmp_path / "status.json").write_text(spoiled(STATUS, key, value))
            assert read_status(tmp_path) is None, (key, value)
    (tmp_path / "status.json").write_text(json.dumps(STATUS))
    assert read_status(tmp_path) is not None


def test_a_column_called_as_a_formula_and_a_field_that_is_no_number_never_come_back(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,epoch,=cmd(),val/loss\n1,1,2,=cmd()\n2,2,1,\x1b[2J\n3,3,1,0.5\n")
    CsvTracker(tmp_path, first_step=3).log(4, 4, {"val/loss": 0.25, "=x": 1.0})
    text = (tmp_path / "metrics.csv").read_text()
    assert text == "step,epoch,'=cmd(),val/loss,'=x\n1,1,2,,\n2,2,1,,\n3,3,1,0.5,\n4,4,,0.25,1.0\n"
    assert curve(tmp_path, "val/loss") == ([3, 4], [0.5, 0.25])


def mutated(text: str, chance: random.Random) -> bytes:
    """Return bytes like a text, damaged in one of several ways."""
    content = bytearray(text.encode())
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(content) + 1)
        piece = chance.choice([*ODD[:19], "\x00", "\xff", "\n", ",", '"', "{", "]", "e", "9" * 30]).encode("latin-1")
        content[place : place + chance.choice([0, 0, 1, 3, 8])] = piece
    return bytes(content)


def fuzz(folder: Path, capsys: pytest.CaptureFixture[str], seed: int, count: int) -> None:
    chance = random.Random(seed)
    names = ("sweep.json", "a/status.json", "a/metrics.csv", "a/parent.json", "a/config.yaml", "a/environment.json")
    sweep(folder)
    originals = {name: (folder / name).read_text() for name in names}
    for _ in range(count):
        name = chance.choice(names)
        (folder / name).write_bytes(mutated(originals[name], chance))
        answers(folder, capsys)
        (folder / "a/metrics.csv").write_text(METRICS)
        (folder / name).write_text(originals[name])


def test_no_damage_to_a_small_file_is_a_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fuzz(tmp_path, capsys, seed=1, count=300)


@pytest.mark.slow
def test_no_damage_to_a_small_file_is_a_traceback_many_times(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fuzz(tmp_path, capsys, seed=2, count=5000)


VALUES = [None, True, -1, 10**400, math.nan, "x", "\ud800", b"x", [], {}, [1], (1, 2), {1: 2}, torch.zeros(0), 1.5]
PLACES = [
    ("epoch",), ("global_step",), ("loss",), ("metrics",), ("metrics", "val/loss"), ("config",), ("version",),
    ("created",),
    ("environment",), ("environment", "facts"), ("data_identity",), ("progress_state_dict",), ("data_state_dict",),
    ("rng_state_dict",), ("optimizer_state_dict",), ("optimizer_state_dict", "param_groups"), ("scheduler_state_dict",),
    ("scheduler_state_dict", "last_epoch"), ("scheduler_state_dict", "base_lrs"),
    ("progress_state_dict", "best_metric"),
    ("progress_state_dict", "global_step"), ("data_state_dict", "sample"), ("environment", "device_kind"),
]  # fmt: skip


def cases() -> Iterator[tuple[tuple[str, ...], Any]]:
    yield from ((place, value) for place in PLACES for value in VALUES)


@pytest.fixture
def run(work: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A finished run, in the current directory."""
    assert cli(capsys, *SMALL, "tracker=csv", "epochs=2", "name=x").code == 0
    return work / "outputs/x"


def resumed_with(run: Path, entries: dict[str, Any], place: tuple[str, ...], value: Any) -> None:
    """Resume from a checkpoint of which one value is another one, or be refused in a sentence."""
    changed = copy.copy(entries)
    node = changed
    for key in place[:-1]:
        node[key] = copy.copy(node[key])
        node = node[key]
    node[place[-1]] = value
    try:
        torch.save(changed, run / "last.tar")
    except UnicodeEncodeError:  # torch itself cannot write it
        return
    for path in (run / "checkpoints").iterdir():
        path.unlink()
    with hydra_session(None) as searchpath, Ownership() as ownership:
        try:
            start = choose_start(["resume=outputs/x/last.tar", "epochs=5"], searchpath, ownership.take)
            if not start.finished:
                prepare(start, Alone())
        except RunnerError as error:
            assert str(error)


@pytest.mark.slow
def test_no_value_of_a_checkpoint_makes_a_resume_a_traceback(run: Path) -> None:
    register()
    entries = torch.load(run / "last.tar", weights_only=True)
    for place, value in random.Random(3).sample(list(cases()), 20):
        resumed_with(run, entries, place, value)
    for value in (None, "x", (1, 2), torch.zeros(0), 10**400):
        resumed_with(run, entries, ("scheduler_state_dict", "last_epoch"), value)
        resumed_with(run, entries, ("optimizer_state_dict", "param_groups"), value)
        resumed_with(run, entries, ("scheduler_state_dict", "base_lrs"), value)


@pytest.mark.slow
def test_no_value_of_a_checkpoint_makes_a_resume_a_traceback_all(run: Path) -> None:
    register()
    entries = torch.load(run / "last.tar", weights_only=True)
    for place, value in cases():
        resumed_with(run, entries, place, value)
