"""An answer to someone whose run cannot go on as asked names what does, and that works."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

from runner.checkpoint.listing import step_files
from tests.support.command_line import TINY, cli
from tests.support.comparing import assert_same_run, entries_of

pytestmark = pytest.mark.usefixtures("unpoisoned")

ONCE = (*TINY, "learner._target_=tests.own.nonfinite.PoisonedOnce", "+learner.at=1")


def advised(text: str, before: str) -> list[str]:
    """Return the words of the command that is named behind this text."""
    found = re.search(f"{before} python \\S*run.py (.*)", text)
    assert found, text
    return shlex.split(found[1])


@pytest.mark.parametrize("resume", ["resume=outputs/x", "resume=outputs/x/last.tar"])
def test_a_run_that_failed_before_its_first_checkpoint_is_begun_again_as_the_answer_says(
    runs: Path, capsys: Any, resume: str
) -> None:
    assert cli(capsys, *ONCE, "name=x").code == 1 and not step_files(runs / "x")
    outcome = cli(capsys, resume)
    assert outcome.code == 2 and "outputs/x holds no checkpoint yet" in outcome.err
    assert cli(capsys, *advised(outcome.err, "start it again with")).code == 0
    assert json.loads((runs / "x/status.json").read_text())["attempt"] == 2


def test_a_name_whose_run_has_no_checkpoint_yet_is_answered_with_what_begins_it_again(runs: Path, capsys: Any) -> None:
    assert cli(capsys, *ONCE, "name=a/x").code == 1
    outcome = cli(capsys, *ONCE, "name=a/x")
    assert outcome.code == 2 and "start it again with name=a/x resume=auto and the rest of this command" in outcome.err
    assert cli(capsys, *ONCE, "name=a/x", "resume=auto").code == 0
    outcome = cli(capsys, *ONCE, "name=a/x")
    words = advised(outcome.err.replace(", start over", "\n"), "continue it with")
    assert outcome.code == 2 and cli(capsys, *words).code == 0


def test_a_file_that_a_run_has_not_is_answered_with_what_it_has(runs: Path, capsys: Any) -> None:
    assert cli(capsys, *TINY, "name=x", "epochs=1").code == 0
    outcome = cli(capsys, "resume=outputs/x/checkpoints/step_0000000007.tar", "epochs=2")
    assert outcome.code == 2 and "no checkpoint at outputs/x/checkpoints/step_0000000007.tar" in outcome.err
    assert "resume=outputs/x\n" in outcome.err and cli(capsys, "resume=outputs/x", "epochs=2").code == 0


def test_a_directory_without_a_run_is_none_to_go_on_with(runs: Path, capsys: Any) -> None:
    (runs / "x").mkdir(parents=True)
    (runs / "x/notes.txt").write_text("mine")
    for words in (("resume=outputs/x",), (*TINY, "name=x", "resume=auto")):
        outcome = cli(capsys, *words)
        assert outcome.code == 2 and "holds no run" in outcome.err
    assert [path.name for path in (runs / "x").iterdir()] == ["notes.txt"]


SHORTER = [
    ("epochs=2", "has 3 epochs already"),
    pytest.param("max_steps=8", "has 9 steps already", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("word", "says"), SHORTER)
def test_a_length_that_is_past_already_is_refused(runs: Path, capsys: Any, word: str, says: str) -> None:
    words = (*TINY, "scheduler=none")
    assert cli(capsys, *words, "name=x").code == 0
    before = sorted((path, path.stat().st_mtime_ns) for path in (runs / "x").rglob("*") if path.name != ".lock")
    for name in ((), ("name=y",)):
        outcome = cli(capsys, "resume=outputs/x", word, *name)
        assert outcome.code == 2 and says in outcome.err and outcome.err.count("\n") == 1
    assert before == sorted((p, p.stat().st_mtime_ns) for p in (runs / "x").rglob("*") if p.name != ".lock")
    assert not (runs / "y").exists()
    assert cli(capsys, *words, "name=y", word).code == 0
    path = runs / "x/checkpoints/step_0000000006.tar"
    assert cli(capsys, f"resume={path}", "rewind=true", word).code == 0
    assert_same_run(runs / "x", runs / "y")
    assert "is finished already" in cli(capsys, "resume=outputs/x", word).out


def test_a_length_amid_the_present_epoch_is_past_already(runs: Path, capsys: Any) -> None:
    assert cli(capsys, *TINY, "name=x", "max_steps=4").code == 0
    outcome = cli(capsys, "resume=outputs/x", "epochs=1", "max_steps=null")
    assert outcome.code == 2 and "has 1 epoch and a part of the next already" in outcome.err
    assert cli(capsys, "resume=outputs/x", "epochs=2", "max_steps=null").code == 0


def test_a_directory_of_runs_is_answered_with_one_of_them(runs: Path, capsys: Any) -> None:
    assert cli(capsys, *TINY, "name=x", "epochs=1").code == 0
    outcome = cli(capsys, "resume=outputs", "epochs=2")
    assert outcome.code == 2 and "outputs is not a run but holds some; name one of them, such as " in outcome.err
    assert cli(capsys, outcome.err.split()[-1], "epochs=2").code == 0


def test_counts_of_a_file_that_are_none_are_a_mismatch(runs: Path, work: Path, capsys: Any) -> None:
    assert cli(capsys, *TINY, "name=x", "epochs=1").code == 0
    entries = entries_of(runs / "x/last.tar")
    torch.save({**entries, "progress_state_dict": {**entries["progress_state_dict"], "counts": [1]}}, work / "odd.tar")
    outcome = cli(capsys, "resume=odd.tar", "name=y", "max_samples=100")
    assert outcome.code == 2 and "its counter counts is not a dict[str, int]" in outcome.err, outcome.err
