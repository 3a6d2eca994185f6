"""`best.tar` is the file whose value is claimed: whatever a run says was best, evaluating that file says again."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runner.checkpoint.listing import step_files
from runner.commands.tools.listing.command import Asked, list_json_command
from runner.run_directory.status import read_status, write_status
from tests.support.command_line import TINY, cli
from tests.support.comparing import entries_of
from tests.support.fork_server import ForkServer

pytestmark = pytest.mark.usefixtures("unpoisoned")

# Losses by step, from 1 on: 5 3 4 6 5 2 4 4..., so that step 2 is the best until step 6 is.
HILLS = (
    "model=own", "model._target_=tests.own.hills.Stepping", "data=own", "data._target_=tests.own.points.NoisyPoints",
    "learner=own", "learner._target_=tests.own.hills.Hills", "+learner.at=99", "batch_size=8", "eval_every=1",
    "tracker=csv", "checkpoint.every_steps=1", "checkpoint.keep_last=2", "checkpoint.keep_every=4", "device=cpu",
)  # fmt: skip


def claimed(run: Path, capsys: Any, *words: str, monitor: str = "loss") -> tuple[float, int]:
    """Do what the words say; return the run's best and its step, after asserting that all say the same and it is so."""
    outcome = cli(capsys, *words, "trust=[tests]")
    assert outcome.code == 0, outcome.out + outcome.err
    best, step = json.loads((run / "status.json").read_text())["best_metric"], entries_of(run / "best.tar")
    assert f"best val/{monitor} {best:.4f} at step {step['global_step']}" in outcome.out
    words = ("task=evaluate", f"checkpoint_path={run}/best.tar", "data.split=val", "trust=[tests]")
    assert json.loads(cli(capsys, *words).out.splitlines()[-1])[monitor] == pytest.approx(best, abs=0)
    capsys.readouterr()
    assert list_json_command(Asked(str(run))) == 0
    assert [one["best_metric"] for one in json.loads(capsys.readouterr().out)] == [best]
    return round(best, 6), step["global_step"]


def test_a_run_and_its_resume_claim_the_value_of_their_best_file(runs: Path, capsys: Any) -> None:
    assert claimed(runs / "x", capsys, *HILLS, "name=x", "max_steps=5") == (3, 2)
    assert claimed(runs / "x", capsys, "resume=outputs/x", "max_steps=9") == (2, 6)


def test_a_fork_takes_the_best_file_of_its_parent_along(runs: Path, capsys: Any) -> None:
    assert claimed(runs / "x", capsys, *HILLS, "name=x", "max_steps=8") == (2, 6)
    best = (runs / "x/best.tar").read_bytes()
    assert claimed(runs / "y", capsys, "resume=outputs/x", "name=y", "max_steps=9") == (2, 6)
    assert (runs / "y/best.tar").read_bytes() == best == (runs / "y/checkpoints/step_0000000006.tar").read_bytes()
    assert claimed(runs / "z", capsys, "resume=outputs/y", "name=z", "max_steps=12") == (2, 6)
    assert entries_of(runs / "z/last.tar")["progress_state_dict"]["evaluations_without_improvement"] == 6


def test_a_fork_whose_parent_has_lost_its_best_begins_a_record_of_its_own(runs: Path, capsys: Any) -> None:
    assert claimed(runs / "x", capsys, *HILLS, "name=x", "max_steps=7") == (2, 6)
    words = ("resume=outputs/x/checkpoints/step_0000000004.tar", "name=y", "max_steps=5")
    assert claimed(runs / "y", capsys, *words) == (5, 5)
    assert "the best val/loss, 3 at step 2" in (runs / "y/run.log").read_text()


def test_a_rewind_claims_what_is_left_of_before(runs: Path, capsys: Any) -> None:
    assert claimed(runs / "x", capsys, *HILLS, "name=x", "max_steps=7") == (2, 6)
    words = ("resume=outputs/x/checkpoints/step_0000000004.tar", "rewind=true", "max_steps=5")
    assert claimed(runs / "x", capsys, *words) == (5, 5)
    assert claimed(runs / "x", capsys, "resume=outputs/x", "max_steps=8") == (2, 6)


def test_a_rollback_claims_the_value_of_its_best_file(runs: Path, capsys: Any) -> None:
    words = (*HILLS, "learner.at=7", "on_nonfinite=rollback", "name=x", "max_steps=9")
    assert claimed(runs / "x", capsys, *words) == (2, 6)
    assert "rolling back to step_0000000007.tar" in (runs / "x/run.log").read_text()


def test_another_monitor_claims_the_best_of_what_is_there(runs: Path, capsys: Any) -> None:
    assert claimed(runs / "x", capsys, *HILLS, "name=x", "max_steps=7") == (2, 6)
    words = ("resume=outputs/x", "max_steps=8", "checkpoint.monitor=val/accuracy", "checkpoint.mode=max")
    assert claimed(runs / "x", capsys, *words, monitor="accuracy") == (0.9, 4)
    assert entries_of(runs / "x/last.tar")["progress_state_dict"]["best_step"] == 4
    assert claimed(runs / "y", capsys, "resume=outputs/x", "name=y", "max_steps=9", monitor="accuracy") == (0.9, 4)


def test_a_damaged_best_is_no_best(runs: Path, capsys: Any) -> None:
    assert claimed(runs / "x", capsys, *HILLS, "name=x", "max_steps=8") == (2, 6)
    os.truncate(runs / "x/best.tar", 1000)
    assert claimed(runs / "x", capsys, "resume=outputs/x", "max_steps=9") == (4, 7)
    assert "the best val/loss, 2 at step 6" in (runs / "x/run.log").read_text()


@pytest.mark.slow
def test_where_only_the_best_is_saved_a_fork_claims_what_its_file_measures(runs: Path, capsys: Any) -> None:
    words = (*HILLS[:-4], "checkpoint=best_only", "device=cpu", "name=x")
    assert claimed(runs / "x", capsys, *words, "max_steps=5") == (3, 2)
    assert claimed(runs / "y", capsys, "resume=outputs/x", "name=y", "max_steps=5") == (3, 2)
    assert claimed(runs / "z", capsys, "resume=outputs/y", "name=z", "max_steps=8") == (2, 6)


def test_without_checkpoints_the_value_is_what_was_measured(runs: Path, capsys: Any) -> None:
    outcome = cli(capsys, *HILLS[:-4], "checkpoint=off", "device=cpu", "name=x", "max_steps=7")
    assert outcome.code == 0 and "best val/loss 2.0000 at step 6" in outcome.out
    assert json.loads((runs / "x/status.json").read_text())["best_metric"] == 2 and not step_files(runs / "x")


def test_of_a_run_that_was_killed_the_list_says_what_its_best_file_measures(runs: Path, capsys: Any) -> None:
    assert claimed(runs / "x", capsys, *HILLS, "name=x", "max_steps=5") == (3, 2)
    status = read_status(runs / "x")
    assert status is not None
    write_status(runs / "x", replace(status, state="interrupted", best_metric=5.0))
    capsys.readouterr()
    assert list_json_command(Asked("outputs")) == 0 and json.loads(capsys.readouterr().out)[0]["best_metric"] == 3


@pytest.mark.slow
def test_a_checkpoint_that_is_safe_is_on_record(process: ForkServer, runs: Path) -> None:
    words = (*TINY, "name=x", "checkpoint.every_steps=1", "checkpoint.asynchronous=false")
    code, text = process.run(runs.parent, *words, STOP_AT="3", STOP_SIGNAL="SIGKILL")
    assert code == -signal.SIGKILL, text
    status = read_status(runs / "x")
    assert status is not None and status.state == "interrupted" and status.monitor == "val/loss"
    assert (status.step, status.best_metric) == (3, entries_of(runs / "x/best.tar")["metrics"]["val/loss"])
