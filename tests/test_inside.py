"""A run reads and writes in its own directory: what leads out of it is refused before anything happens."""

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from runner.checkpoint.listing import candidates, steps
from runner.commands.tools.report import report
from runner.commands.tools.verify import verify_command
from runner.errors import ConfigError, LeadsElsewhere
from runner.run_directory.inside import check_inside
from runner.run_directory.ownership import Ownership
from runner.sweeps.results.table import RECORD, Record, read_record, write_record
from tests.support.command_line import SMALL, cli

WORDS = (*SMALL, "tracker=csv", "epochs=2")
FILES = (
    "last.tar", "best.tar", "status.json", "config.yaml", "metrics.csv", "run.log", "environment.json",
    "warm_start.json", "parent.json", "sweep.json", "multirun.yaml", "results.csv", "study.db",
)  # fmt: skip
FOLDERS = ("checkpoints", "attempts", "overrides", "tensorboard", "profile", ".hydra", "logs", "plots", "superseded")


def digest(folder: Path) -> dict[str, str]:
    """Return what lies below a folder, byte for byte."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_a_link_or_a_pipe_is_refused(tmp_path: Path, name: str) -> None:
    run, other = tmp_path / "run", tmp_path / "other"
    run.mkdir()
    other.write_text("its own")
    (run / name).symlink_to(other)
    with pytest.raises(LeadsElsewhere, match=f"{name} is a link"):
        check_inside(run)
    (run / name).unlink()
    os.mkfifo(run / name)
    with Ownership() as ownership, pytest.raises(LeadsElsewhere, match=f"{name} is not a regular file"):
        ownership.take(run)
    assert [path.name for path in run.iterdir()] == [name]
    (run / name).unlink()
    (run / name).write_text("real")
    check_inside(run)


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_that_is_a_link_or_holds_one_is_refused(tmp_path: Path, name: str) -> None:
    run, other = tmp_path / "run", tmp_path / "other"
    run.mkdir()
    other.mkdir()
    (run / name).symlink_to(other)
    with pytest.raises(LeadsElsewhere, match=f"{name} is a link"):
        check_inside(run)
    (run / name).unlink()
    (run / name).write_text("a file")
    with pytest.raises(LeadsElsewhere, match=f"{name} is not a regular folder"):
        check_inside(run)
    (run / name).unlink()
    (run / name / "inner").mkdir(parents=True)
    check_inside(run)
    if name != "superseded":
        (run / name / "inner" / "file").symlink_to(other)
        with pytest.raises(LeadsElsewhere, match="file is a link"):
            check_inside(run)


@pytest.mark.parametrize("name", [".lock", "metrics.csv", "run.log", "logs/a.log", "plots/a.png"])
def test_a_file_that_is_written_in_place_has_one_name_only(tmp_path: Path, name: str) -> None:
    (tmp_path / "run" / name).parent.mkdir(parents=True)
    (tmp_path / "other").write_text("x")
    (tmp_path / "run" / name).hardlink_to(tmp_path / "other")
    with pytest.raises(LeadsElsewhere, match="a second hard link"):
        check_inside(tmp_path / "run")


def test_a_pointer_within_the_run_and_links_of_the_users_own_are_no_matter(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/step_0000000001.tar").write_text("x")
    (tmp_path / "last.tar").symlink_to("checkpoints/step_0000000001.tar")
    (tmp_path / "notes").symlink_to("/etc")
    check_inside(tmp_path)
    assert [path.name for path in candidates(tmp_path)] == ["step_0000000001.tar", "last.tar"]


def test_the_checkpoints_of_another_run_are_not_those_of_this_one(tmp_path: Path) -> None:
    other, run = tmp_path / "other", tmp_path / "run"
    (other / "checkpoints").mkdir(parents=True)
    (other / "checkpoints/step_0000000001.tar").write_text("x")
    (other / "last.tar").write_text("x")
    run.mkdir()
    (run / "checkpoints").symlink_to(other / "checkpoints")
    (run / "last.tar").symlink_to(other / "last.tar")
    assert steps(run) == {} and list(candidates(run)) == []


def test_a_resume_through_links_harms_no_other_run(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(capsys, *WORDS, "name=other").code == 0
    before = digest(work / "outputs/other")
    for name in ("checkpoints", "run.log", "attempts", "metrics.csv", ".lock"):
        shutil.copytree("outputs/other", "outputs/x")
        path = work / "outputs/x" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        path.symlink_to(work / "outputs/other" / name)
        for words in (("resume=outputs/x",), ("resume=outputs/x/last.tar",), (*WORDS[:-1], "name=x", "resume=auto")):
            answer = cli(capsys, *words, "epochs=3", "checkpoint.keep_last=2")
            assert answer.code == 2 and name in answer.err and answer.err.count("\n") == 1
        assert verify_command(["outputs/x"], as_json=False) == 2
        said = capsys.readouterr().out
        assert f"refused outputs/x: outputs/x/{name} is a link" in said and "would take nothing" in said
        shutil.rmtree("outputs/x")
    assert digest(work / "outputs/other") == before


def test_a_run_directory_that_is_itself_a_link_works_as_any_other(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (work / "scratch/x").mkdir(parents=True)
    (work / "scratch/outputs").mkdir()
    (work / "outputs").symlink_to("scratch/outputs")
    (work / "outputs/x").symlink_to(work / "scratch/x")
    assert cli(capsys, *WORDS, "name=x").code == 0
    assert cli(capsys, *WORDS, "name=x", "resume=auto", "epochs=3").code == 0
    assert cli(capsys, "resume=outputs/x", "epochs=4").code == 0
    assert (work / "scratch/x/checkpoints/step_0000000008.tar").is_file()


@pytest.mark.parametrize("name", ["../base", "a/b", "..", ".", "", "/etc", "a\n", "\x1b[2J", "x" * 300])
def test_a_job_is_called_by_a_name_or_the_record_is_not_read(tmp_path: Path, name: str) -> None:
    write_record(tmp_path, Record("val/loss", "min", {name: []}))
    with pytest.raises(ConfigError, match="is not a job's name"):
        read_record(tmp_path)
    (tmp_path / RECORD).unlink()
    write_record(tmp_path, Record("val/loss", "min", {"a": []}, pruned=[name]))
    with pytest.raises(ConfigError, match="is not a job's name"):
        read_record(tmp_path)


def test_a_report_writes_through_no_link(tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "s").mkdir()
    write_record(tmp_path / "s", Record("val/loss", "min", {"a": []}))
    (tmp_path / "s/plots").symlink_to(tmp_path / "victim")
    with pytest.raises(LeadsElsewhere, match="plots is a link"):
        report(tmp_path / "s", ())
    assert not list((tmp_path / "victim").iterdir())
