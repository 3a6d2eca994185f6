"""`python -m runner rename`: a run goes on under its new name, and whoever names it in a record follows."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.checkpoint.listing import steps
from runner.run_directory.attempts import read_attempts
from runner.run_directory.ownership import Ownership
from runner.run_directory.status import read_status
from runner.tracking.csv_file import read_rows
from tests.support.command_line import TINY, Outcome, cli, trained_in
from tests.support.comparing import difference, entries_of
from tests.support.run_directories import write_run

Tool = Callable[..., Outcome]
Capture = pytest.CaptureFixture[str]


def test_a_renamed_run_resumes_under_its_new_name_bit_for_bit(work: Path, capsys: Capture, tool: Tool) -> None:
    trained_in(work, *TINY, "epochs=2", "name=plain")
    trained_in(work, *TINY, "epochs=2", "name=x")
    outcome = tool("rename", "outputs/x", "group/y")
    assert outcome.code == 0 and outcome.out.startswith("outputs/x is now outputs/group/y")
    assert not (work / "outputs/x").exists()
    for words in (("resume=outputs/plain",), ("name=group/y", "resume=auto", *TINY[:-2], "checkpoint.keep_last=100")):
        assert cli(capsys, *words, "epochs=3").code == 0
    one, other = work / "outputs/plain", work / "outputs/group/y"
    assert difference(entries_of(one / "last.tar"), entries_of(other / "last.tar")) is None
    assert steps(one).keys() == steps(other).keys()
    assert [row["step"] for row in read_rows(one / "metrics.csv")] == [
        row["step"] for row in read_rows(other / "metrics.csv")
    ]
    assert "name: group/y" in read_attempts(other)[-1].config and not (work / "outputs/x").exists()
    assert tool("verify", other).code == 0


def test_an_interrupted_run_is_told_how_to_go_on(work: Path, capsys: Capture, tool: Tool) -> None:
    trained_in(work, *TINY, "epochs=1", "name=x")
    path = work / "outputs/x/status.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"state": "interrupted"}))
    assert tool("rename", "x", "y").out.splitlines()[-1] == "to go on: python run.py resume=outputs/y"
    assert cli(capsys, "resume=outputs/y", "epochs=2").code == 0


def test_a_run_without_a_checkpoint_begins_again_under_its_new_name(work: Path, tool: Tool) -> None:
    trained_in(work, *TINY[:-1], "epochs=1", "name=x", "checkpoint=off")
    path = work / "outputs/x/status.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"state": "failed"}))
    assert tool("rename", "x", "y").out.splitlines()[-1].endswith("name=y resume=auto")


def test_records_of_forks_and_warm_started_runs_follow(work: Path, tool: Tool) -> None:
    for name in ("x", "x2", "fork", "warm", "other", "absolute"):
        write_run(work / "outputs" / name)
    absolute = work / "outputs/x/best.tar"
    records = {
        "fork/parent.json": {"checkpoint": "outputs/x/best.tar", "epoch": 1},
        "warm/warm_start.json": {"path": "outputs/x", "models": {}},
        "other/parent.json": {"checkpoint": "outputs/x2/best.tar"},
        "absolute/parent.json": {"checkpoint": str(absolute)},
    }
    for name, entries in records.items():
        (work / "outputs" / name).write_text(json.dumps(entries))
    out = tool("rename", "outputs/x", "y").out
    found = {name: json.loads((work / "outputs" / name).read_text()) for name in records}
    assert found["fork/parent.json"] == {"checkpoint": "outputs/y/best.tar", "epoch": 1}
    assert found["warm/warm_start.json"]["path"] == "outputs/y" and "outputs/fork/parent.json names it" in out
    assert found["other/parent.json"] == records["other/parent.json"]
    assert found["absolute/parent.json"]["checkpoint"] == str(work / "outputs/y/best.tar")


def test_a_fork_goes_on_after_its_parent_was_renamed(work: Path, capsys: Capture, tool: Tool) -> None:
    trained_in(work, *TINY, "epochs=1", "name=x")
    assert cli(capsys, "resume=outputs/x", "name=fork", "epochs=2").code == 0
    assert tool("rename", "x", "y").code == 0
    parent = json.loads((work / "outputs/fork/parent.json").read_text())["checkpoint"]
    assert parent.startswith("outputs/y/") and Path(parent).is_file()
    assert cli(capsys, "resume=outputs/fork", "epochs=3").code == 0


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("x", "taken", "outputs/taken is taken already"), ("x", "x", "is taken already"),
        ("x", "../y", "is invalid"), ("x", "/elsewhere/y", "is not below outputs/"), ("x", ".y", "is invalid"),
        ("x", "a b", "is invalid"), ("none", "y", "python -m runner list"), ("x", "x/y", "inside of outputs/x"),
        ("x", "taken/y", "would be inside of outputs/taken"), ("x", "s/y", "would be inside of outputs/s"),
        ("outputs", "y", "neither a run nor a sweep"), ("elsewhere", "y", "not below outputs/"),
        ("s/job", "y", "cp -a outputs/s/job outputs/y"), ("x", "file", "is taken already"),
        ("x", "https://host/y", "is a URL"),
    ],
)  # fmt: skip
def test_what_cannot_be_renamed_is_refused_and_stays(work: Path, tool: Tool, old: str, new: str, said: str) -> None:
    for name in ("outputs/x", "outputs/taken", "outputs/s/job", "elsewhere"):
        write_run(work / name)
    (work / "outputs/s/sweep.json").write_text("{}")
    (work / "outputs/file").write_text("mine")
    before = sorted(work.rglob("*"))
    outcome = tool("rename", old, new)
    assert outcome.code == 2 and said in outcome.err and outcome.err.count("\n") == 1
    assert sorted(work.rglob("*")) == before


def test_a_run_that_trains_keeps_its_name(work: Path, tool: Tool) -> None:
    run = write_run(work / "outputs/x")
    with Ownership() as ownership:
        ownership.take(run)
        ownership.sign()
        outcome = tool("rename", "x", "y")
    assert outcome.code == 2 and f"is in use by process {os.getpid()}" in outcome.err and run.is_dir()


def test_a_sweep_with_a_job_at_work_keeps_its_name(work: Path, tool: Tool) -> None:
    run = write_run(work / "outputs/s/job")
    (work / "outputs/s/sweep.json").write_text("{}")
    with Ownership() as ownership:
        ownership.take(run)
        assert tool("rename", "s", "t").code == 2
    assert tool("rename", "s", "t").code == 0 and (work / "outputs/t/job/status.json").is_file()


def test_an_empty_directory_takes_the_name(work: Path, tool: Tool) -> None:
    write_run(work / "outputs/x")
    (work / "outputs/y").mkdir()
    assert tool("rename", "outputs/x", "outputs/y").code == 0 and (work / "outputs/y/status.json").is_file()


def test_a_copy_of_a_job_is_a_run_of_its_own(work: Path, capsys: Capture) -> None:
    trained_in(work, *TINY, "epochs=1", "name=s/job")
    assert os.system("cp -a outputs/s/job outputs/y") == 0
    assert cli(capsys, "resume=outputs/y", "epochs=2").code == 0
    status = read_status(work / "outputs/y")
    assert status is not None and status.epoch == 2


@pytest.mark.slow
def test_the_command_of_a_renamed_sweep_finds_its_jobs(work: Path, capsys: Capture, tool: Tool) -> None:
    words = ("-m", *TINY, "epochs=1", "seed=1,2")
    assert cli(capsys, *words, "name=s").code == 0
    assert tool("rename", "s", "t").code == 0
    jobs = {path: path.read_bytes() for path in (work / "outputs/t").glob("seed*/last.tar")}
    assert cli(capsys, *words, "name=t").code == 0
    assert len(jobs) == 2 and {path: path.read_bytes() for path in jobs} == jobs
    listed = json.loads(tool("report", "outputs/t", "--json").out)
    assert [row["state"] for row in listed] == ["finished", "finished"] and not (work / "outputs/s").exists()
    assert (work / "outputs/t/best/last.tar").is_file()
