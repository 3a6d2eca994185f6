"""Trackers as the config names them: conf/'s, one's own, those of an older run; none is built of what a file says."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from runner.run_directory.attempts import read_attempts
from tests.support import REPOSITORY
from tests.support.command_line import cli
from tests.support.comparing import entries_of

RUN = (
    "data=synthetic", "data.shape=[4]", "data.size=32", "batch_size=16", "device=cpu", "model=mlp", "model.hidden=[5]",
    "log_every=1", "max_steps=2",
)  # fmt: skip
MINE = "+tracker.mine._target_=mine.Noting"
CODE = """
class Noting:
    def __init__(self, directory, first_step, measured, hparams, wrong=False):
        if wrong:
            raise OSError("no server")
        self.about = (directory, first_step, measured, hparams["model.hidden"])

    def log(self, step, epoch, metrics):
        with open(self.about[0] / "noted", "a") as file:
            print(self.about[1:], step, file=file)

    def flush(self): ...
    def close(self): ...

class Half:
    def log(self, step, epoch, metrics): ...
"""


@pytest.fixture
def work(work: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project's folder with a module `mine`, the current directory."""
    monkeypatch.syspath_prepend(work)
    (work / "mine.py").write_text(CODE)
    before = set(sys.modules)
    yield work
    for name in set(sys.modules) - before:
        if name.split(".")[0] in ("mine", "mywork"):
            del sys.modules[name]


@pytest.fixture
def run(work: Path, capsys: Any) -> Path:
    """A run with both trackers."""
    assert cli(capsys, *RUN, "name=x").code == 0
    return work / "outputs/x"


def change(run: Path, trackers: Any) -> None:
    """Give the config of a run's checkpoints these trackers."""
    for path in run.glob("checkpoints/*.tar"):
        content = entries_of(path)
        config = {**yaml.safe_load(content["config"]), "tracker": trackers}
        torch.save({**content, "config": yaml.safe_dump(config)}, path)


def trackers_of(run: Path) -> Any:
    return yaml.safe_load("\n".join(read_attempts(run)[-1].config))["tracker"]


def test_ones_own_tracker_is_given_what_its_constructor_asks_for(work: Path, capsys: Any) -> None:
    begun = cli(capsys, *RUN, MINE, "name=x")
    assert begun.code == 0, begun.err
    assert f"must repeat: {MINE}\n" in begun.out
    assert cli(capsys, "resume=outputs/x", "max_steps=3", MINE).code == 0
    about = "(['val/loss', 'val/accuracy'], '[5]')"
    told = [f"({first}, {about[1:]} {step}" for first, step in ((0, 1), (0, 2), (2, 3))]
    assert (work / "outputs/x/noted").read_text().splitlines() == told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("tracker.csv=false", "write tracker.csv=null for none"),
        ("tracker.csv=true", "leave it out, or write tracker.csv=null"),
        ("tracker=none tracker.csv=true", "did you mean tracker=csv?"),
        ("+tracker.mine=mine.Noting", "write +tracker.mine._target_=my_package.MyTracker"),
        ("+tracker.mine.url=x", "tracker.mine._target_ is missing"),
        ("+tracker.mine._target_=mine.Nothing", "does not exist in mine"),
        ("+tracker.mine._target_=mine.Half", "Half has no method `flush`; a tracker needs log, flush, close"),
        (f"{MINE} +tracker.mine.x=1", "its parameters are: directory, first_step, measured, hparams, wrong"),
        (f"{MINE} +tracker.mine.wrong=true", "tracker.mine could not be built: Noting raised OSError: no server ("),
        (f"{MINE} +tracker.mine.wrong=true", "/mine.py:5)"),
    ],
)
def test_a_tracker_that_cannot_be_is_one_sentence_before_anything_is_made(
    work: Path, capsys: Any, words: str, said: str
) -> None:
    outcome = cli(capsys, *RUN, *words.split())
    assert outcome.code == 2 and outcome.err.count("\n") == 1 and said in outcome.err, outcome.err
    assert not (work / "outputs").exists()


@pytest.mark.parametrize("word", ["tracker.csv=null", "~tracker.csv", "tracker=tensorboard"])
def test_a_tracker_is_left_out_by_null(work: Path, capsys: Any, word: str) -> None:
    assert cli(capsys, *RUN, "name=x", word).code == 0
    assert not (work / "outputs/x/metrics.csv").exists() and (work / "outputs/x/tensorboard").exists()


@pytest.mark.parametrize("csv", [True, False])
def test_the_booleans_of_an_older_run_go_on_meaning_its_trackers(run: Path, capsys: Any, csv: bool) -> None:
    change(run, {"csv": csv, "tensorboard": not csv})
    outcome = cli(capsys, "resume=outputs/x", "max_steps=3")
    assert outcome.code == 0 and "tracker" not in outcome.out, outcome
    on = {"csv": {"_target_": "runner.tracking.CsvTracker"}, "tensorboard": None}
    off = {"csv": None, "tensorboard": {"_target_": "runner.tracking.TensorBoardTracker"}}
    assert trackers_of(run) == (on if csv else off)
    checkpoint = next((run / "checkpoints").glob("*2.tar"))
    evaluated = cli(capsys, "task=evaluate", f"checkpoint_path={checkpoint}")
    assert evaluated.code == 0 and "tracker" not in evaluated.err, evaluated.err
    assert cli(capsys, *RUN, f"warm_start.path={checkpoint}", "name=y").code == 0


def test_a_resume_builds_no_tracker_that_only_the_run_names_and_shows_that_it_is_left_out(
    run: Path, capsys: Any
) -> None:
    elsewhere = {"_target_": "runner.tracking.CsvTracker", "directory": "/nowhere"}
    change(run, {"csv": elsewhere, "mine": {"_target_": "mine.Noting"}, "other": "${oc.env:HOME}"})
    outcome = cli(capsys, "resume=outputs/x", "max_steps=3")
    assert outcome.code == 0, outcome.err
    assert re.search(r"tracker.mine._target_ *\| mine.Noting *\| null", outcome.out)
    assert trackers_of(run) == {"csv": {"_target_": "runner.tracking.CsvTracker"}}
    assert "mine" not in sys.modules and not (run / "noted").exists()


def test_trackers_of_a_file_that_are_no_mapping_are_refused(run: Path, capsys: Any) -> None:
    change(run, ["csv"])
    outcome = cli(capsys, "resume=outputs/x", "max_steps=3")
    assert outcome.code == 2 and "tracker in its config is not a mapping" in outcome.err


def test_the_page_has_a_tracker_that_works(work: Path, capsys: Any) -> None:
    page = (REPOSITORY / "docs/own-work.md").read_text()
    for path in ("mywork/tracker.py", "conf/tracker/lines.yaml"):
        text = re.search(rf'^```\w+ title="{path}"\n(.*?)^```$', page, re.MULTILINE | re.DOTALL)
        assert text
        (work / path).parent.mkdir(parents=True)
        (work / path).write_text(text[1])
    words = ("--config-dir=conf", *RUN, "name=x", "tracker=lines", "tracker.csv=null")
    assert cli(capsys, *words, program=work / "run.py").code == 0
    rows = [json.loads(line) for line in (work / "outputs/x/metrics.jsonl").read_text().splitlines()]
    assert [(row["step"], row["epoch"]) for row in rows] == [(1, 0), (2, 1)] and "val/loss" in rows[1]
    assert (work / "outputs/x/tensorboard").exists() and not (work / "outputs/x/metrics.csv").exists()
