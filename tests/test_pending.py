"""What a resume changes is a fact of the run: no checkpoint of before changes, and no kill loses it."""

import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from runner.checkpoint.listing import step_files
from runner.commands.tools.verify import verify_command
from runner.run_directory.attempts import read_attempts
from tests.own.nonfinite import PoisonedOnce
from tests.support.command_line import TINY, cli
from tests.support.comparing import assert_same_run, difference, entries_of
from tests.support.fork_server import ForkServer

pytestmark = pytest.mark.usefixtures("unpoisoned")


def contents(run: Path) -> dict[str, bytes]:
    """Return the bytes of each checkpoint of a run; best.tar is one of them, under a name of its own."""
    files = [*(file.path for file in step_files(run)), run / "best.tar"]
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


def killed_at(process: ForkServer, runs: Path, step: int, *words: str) -> None:
    """Run in another process, which is killed in the midst of a step."""
    code, text = process.run(runs.parent, *words, STOP_AT=str(step), STOP_SIGNAL="SIGKILL")
    assert code == -signal.SIGKILL, text


CHANGED = ("epochs=4", "optimizer.lr=0.5")


def test_no_checkpoint_changes_a_byte_whatever_a_later_attempt_is_told(runs: Path, capsys: Any) -> None:
    assert cli(capsys, *TINY, "name=x", "checkpoint.keep_last=2", "checkpoint.keep_best=5").code == 0
    run = runs / "x"
    (run / "checkpoints/step_0000000003.pin").touch()
    before = contents(run)
    assert cli(capsys, "resume=outputs/x", *CHANGED).code == 0
    after = contents(run)
    assert all(after[name] == content for name, content in before.items() if name != "best.tar")
    assert before["best.tar"] in after.values()
    assert entries_of(run / "checkpoints/step_0000000009.tar")["config"].count("lr: 0.5") == 0
    outcome = cli(capsys, f"resume={run}/checkpoints/step_0000000009.tar", "rewind=true")
    assert outcome.code == 0 and "key" not in outcome.out
    assert all(contents(run)[name] == content for name, content in before.items() if name != "best.tar")


@pytest.mark.slow
def test_a_change_that_was_killed_at_once_is_applied_by_a_bare_resume_bit_for_bit(
    process: ForkServer, runs: Path, capsys: Any
) -> None:
    for name in ("whole", "x"):
        assert cli(capsys, *TINY, f"name={name}", "scheduler=cosine").code == 0
    assert cli(capsys, "resume=outputs/whole", *CHANGED).code == 0
    killed_at(process, runs, 9, "resume=outputs/x", *CHANGED)
    killed_at(process, runs, 9, "resume=outputs/x/last.tar")
    assert step_files(runs / "x")[-1].step == 9
    outcome = cli(capsys, "resume=outputs/x")
    assert (
        outcome.code == 0
        and "no checkpoint holds the changes of attempts/0003.json yet, so they apply again" in outcome.out
    )
    assert "optimizer.lr" in outcome.out and "(learning rate)" in outcome.out
    assert_same_run(runs / "whole", runs / "x")
    configs = [entries_of(runs / f"{name}/last.tar")["config"] for name in ("x", "whole")]
    assert configs[0] == configs[1].replace("whole", "x")
    assert "apply again" not in cli(capsys, "resume=outputs/x", "epochs=5").out


@pytest.mark.slow
def test_a_rewind_takes_the_settings_of_the_checkpoint_that_it_goes_back_to(
    process: ForkServer, runs: Path, capsys: Any
) -> None:
    for name in ("whole", "x"):
        assert cli(capsys, *TINY, f"name={name}").code == 0
    killed_at(process, runs, 9, "resume=outputs/x", *CHANGED)
    path = runs / "x/checkpoints/step_0000000009.tar"
    outcome = cli(capsys, f"resume={path}", "rewind=true", "epochs=4")
    assert outcome.code == 0 and "apply again" not in outcome.out and "optimizer.lr" not in outcome.out
    assert cli(capsys, "resume=outputs/whole", "epochs=4").code == 0
    assert_same_run(runs / "whole", runs / "x")
    back = cli(capsys, f"resume={path}", "rewind=true", "epochs=4", "optimizer.lr=0.25")
    assert back.code == 0 and re.search(r"optimizer.lr +\| 0.002 +\| 0.25 +\| takes effect", back.out)


@pytest.mark.slow
def test_a_rewind_that_is_killed_at_once_stays_a_rewind(process: ForkServer, runs: Path, capsys: Any) -> None:
    for name in ("whole", "x"):
        assert cli(capsys, *TINY, f"name={name}").code == 0
    assert cli(capsys, "resume=outputs/x", *CHANGED).code == 0
    path = runs / "x/checkpoints/step_0000000003.tar"
    killed_at(process, runs, 3, f"resume={path}", "rewind=true")
    outcome = cli(capsys, "resume=outputs/x")
    assert outcome.code == 0 and "apply again" not in outcome.out
    assert_same_run(runs / "whole", runs / "x")


def test_a_fallback_to_an_older_checkpoint_keeps_what_the_run_was_told_since(
    runs: Path, capsys: Any, monkeypatch: Any
) -> None:
    assert cli(capsys, *TINY, "name=x").code == 0
    assert cli(capsys, "resume=outputs/x", *CHANGED).code == 0
    for file in step_files(runs / "x")[-2:]:
        os.truncate(file.path, 1000)
    outcome = cli(capsys, "resume=outputs/x")
    assert outcome.code == 0 and "attempts/0002.json" in outcome.out and "optimizer.lr" in outcome.out
    assert "lr: 0.5" in entries_of(runs / "x/last.tar")["config"]


def test_an_evaluation_that_was_stopped_is_made_up_for_in_a_file_of_its_own(
    runs: Path, capsys: Any, monkeypatch: Any
) -> None:
    assert cli(capsys, *TINY, "name=whole").code == 0
    monkeypatch.setenv("STOP_AT", "5")  # the last one of the second epoch, so that its evaluation is not begun
    assert cli(capsys, *TINY, "name=x").code == 75
    before = contents(runs / "x")
    monkeypatch.setenv("STOP_AT", "never")
    assert cli(capsys, "resume=outputs/x").code == 0
    assert_same_run(runs / "whole", runs / "x")
    names = [file.path.name for file in step_files(runs / "x")]
    assert names == ["step_0000000003.tar", "step_0000000006.tar", "step_0000000006.2.tar", "step_0000000009.tar"]
    assert before["checkpoints/step_0000000006.tar"] == contents(runs / "x")["checkpoints/step_0000000006.tar"]
    older = cli(capsys, f"resume={runs}/x/checkpoints/step_0000000006.tar")
    assert older.code == 2 and "newer checkpoints, up to step_0000000009.tar" in older.err
    assert cli(capsys, f"resume={runs}/x/checkpoints/step_0000000006.tar", "rewind=true").code == 0
    assert_same_run(runs / "whole", runs / "x")
    aside = sorted(path.name for path in (runs / "x/checkpoints/superseded").iterdir())
    assert aside == ["step_0000000006.2.tar", "step_0000000009.tar"]


def test_a_rollback_changes_no_file(runs: Path, capsys: Any) -> None:
    words = (
        *TINY, "learner._target_=tests.own.nonfinite.PoisonedOnce", "on_nonfinite=rollback", "checkpoint.every_steps=1",
    )  # fmt: skip
    assert cli(capsys, *words, "name=x", "epochs=1").code == 0
    before = contents(runs / "x")
    outcome = cli(capsys, "resume=outputs/x", "epochs=2", "trust=[tests]")
    assert outcome.code == 0 and "rolling back to" in outcome.out
    after = contents(runs / "x")
    assert all(after[name] == content for name, content in before.items() if name != "best.tar")


def test_a_rollback_keeps_what_a_resume_has_changed(runs: Path, capsys: Any) -> None:
    words = (*TINY, "learner._target_=tests.own.nonfinite.PoisonedOnce", "+learner.at=10", "on_nonfinite=rollback")
    assert cli(capsys, *words, "name=x").code == 0
    before = contents(runs / "x")
    PoisonedOnce.fired = False
    outcome = cli(capsys, "resume=outputs/x", *CHANGED, "trust=[tests]")
    assert outcome.code == 0 and "rolling back to step_0000000009.2.tar" in outcome.out
    assert entries_of(runs / "x/last.tar")["optimizer_state_dict"]["param_groups"][0]["initial_lr"] == 0.5
    assert all(contents(runs / "x")[name] == content for name, content in before.items() if name != "best.tar")


def test_a_run_that_fails_where_it_saved_saves_no_second_file(runs: Path, capsys: Any) -> None:
    words = (
        *TINY, "data._target_=tests.own.disturbed.Ending", "checkpoint.every_steps=1", "checkpoint.asynchronous=false",
    )  # fmt: skip
    assert cli(capsys, *words, "name=x").code == 1
    assert [file.path.name for file in step_files(runs / "x")] == ["step_0000000001.tar", "step_0000000002.tar"]


def test_a_record_that_cannot_be_read_is_said_and_not_passed_over(runs: Path, capsys: Any) -> None:
    assert cli(capsys, *TINY, "name=x").code == 0
    record = runs / "x/attempts/0001.json"
    record.write_text(record.read_text()[:-20])
    outcome = cli(capsys, "resume=outputs/x", "epochs=4")
    assert outcome.code == 2 and "0001.json is not a record of an attempt" in outcome.err
    assert verify_command([str(runs / "x")], as_json=False) == 2
    assert f"damaged {record}" in capsys.readouterr().out
    record.unlink()
    assert cli(capsys, "resume=outputs/x", "epochs=4").code == 0
    assert [attempt.attempt for attempt in read_attempts(runs / "x")] == [2]


def test_what_a_finished_attempt_changed_gives_nothing_more_to_do(runs: Path, capsys: Any) -> None:
    assert cli(capsys, *TINY, "name=x", "early_stopping.patience=50").code == 0
    assert cli(capsys, "resume=outputs/x", "early_stopping.patience=60").code == 0
    outcome = cli(capsys, "resume=outputs/x")
    assert outcome.code == 0 and "is finished already" in outcome.out
    assert difference(entries_of(runs / "x/last.tar"), entries_of(runs / "x/checkpoints/step_0000000009.tar")) is None
