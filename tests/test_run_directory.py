import json
import math
import os
import platform
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from runner.errors import ConfigError
from runner.run_directory.environment import describe_environment, summary
from runner.run_directory.names import check_name, digest_of, name_with, unique_name
from runner.run_directory.status import State, Status, read_status, write_status

STATUS = Status(
    state="running", step=7, epoch=1, attempt=2, reason=None, best_metric=0.25, pid=os.getpid(),
    host=platform.node(), started="2026-01-01T00:00:00+00:00", updated="2026-01-01T00:00:01+00:00",
)  # fmt: skip


@pytest.mark.parametrize("name", ["x", "a/b.c/D_1-2", "_x", "1", "a" * 200, "/".join(["a" * 199] * 5)])
def test_a_safe_name_is_accepted(name: str) -> None:
    check_name(name)


BAD = ["", "/", "/a", "a/", "a//b", ".", "..", "a/../b", ".a", "a/.b", "-a", "a b", "a\n", "ä", "a\\b", "a:b", "a\0"]


@pytest.mark.parametrize("name", [*BAD, "a" * 201, "/".join(["a" * 199] * 6)], ids=lambda name: repr(name)[:12])
def test_a_name_that_is_not_safe_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="name="):
        check_name(name)


def test_unique_names_are_safe_time_stamps_that_differ() -> None:
    names = [unique_name() for _ in range(100)]
    assert len(set(names)) == 100
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_[0-9a-f]{6}", name) for name in names)
    check_name(names[0])


def test_a_job_is_named_by_its_overrides_and_a_hash_of_its_identity() -> None:
    name = name_with(["model=lenet", "optimizer.lr=0.1"], digest_of("seed: 0\n"))
    assert name == "model-lenet_optimizer.lr-0.1-6a5a163c"


@pytest.mark.parametrize("override", ["--x=1", "..=..", "+a=[1,2]", "~a", "a='b c/d'", "ü" * 300, "a=" + "1" * 300, ""])
def test_a_job_name_is_one_safe_segment_whatever_the_overrides(override: str) -> None:
    name = name_with([override], digest_of("x"))
    check_name(name)
    assert "/" not in name and len(name) <= 109


def test_a_written_status_is_read_back(tmp_path: Path) -> None:
    write_status(tmp_path, STATUS)
    assert read_status(tmp_path) == STATUS
    assert [path.name for path in tmp_path.iterdir()] == ["status.json"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_metric_that_json_does_not_know_becomes_null(tmp_path: Path, value: float) -> None:
    write_status(tmp_path, replace(STATUS, best_metric=value))
    assert json.loads((tmp_path / "status.json").read_text())["best_metric"] is None


def test_the_file_is_indented_json_with_a_key_a_field(tmp_path: Path) -> None:
    write_status(tmp_path, STATUS)
    assert (tmp_path / "status.json").read_text().startswith('{\n  "state": "running",\n  "step": 7,')


def test_no_status_is_none(tmp_path: Path) -> None:
    assert read_status(tmp_path) is None
    assert read_status(tmp_path / "absent") is None


WHOLE = json.dumps(vars(STATUS))
SPOILED = [
    "", "{", WHOLE[:-5], "[]", "null", "3", "{}", WHOLE.replace('"running"', '"sleeping"'),
    WHOLE.replace('"running"', "[]"), WHOLE.replace('"step": 7', '"step": "7"'),
    WHOLE.replace('"attempt": 2', '"attempt": null'), re.sub(r'"pid": \d+', '"pid": "x"', WHOLE),
    re.sub(r'"pid": \d+', '"pid": -1', WHOLE),
]  # fmt: skip


@pytest.mark.parametrize("text", SPOILED)
def test_a_status_that_cannot_be_understood_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "status.json").write_text(text)
    assert read_status(tmp_path) is None


def test_bytes_that_are_no_text_are_none(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_bytes(b"\xff\xfe\x00")
    assert read_status(tmp_path) is None


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_running_status_of_a_dead_process_is_interrupted(tmp_path: Path) -> None:
    status = replace(STATUS, pid=dead_pid())
    write_status(tmp_path, status)
    assert read_status(tmp_path) == replace(status, state="interrupted")


def test_a_pid_of_another_host_or_an_ended_state_is_believed(tmp_path: Path) -> None:
    for status in (replace(STATUS, pid=dead_pid(), host="elsewhere"), replace(STATUS, pid=dead_pid(), state="failed")):
        write_status(tmp_path, status)
        assert read_status(tmp_path) == status


def test_the_states_are_the_four_of_the_contract() -> None:
    assert [state.name for state in State] == ["running", "finished", "failed", "interrupted"]


def git(*words: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    subprocess.run(("git", *identity, *words), check=True, capture_output=True)


@pytest.fixture
def repository(work: Path) -> Path:
    git("init", "-b", "trunk")
    (work / "a.txt").write_text("one\n")
    git("add", ".")
    git("commit", "-m", "first")
    return work


def test_the_environment_knows_the_commit_the_branch_and_what_was_changed(repository: Path) -> None:
    (repository / "a.txt").write_text("two\n")
    found = describe_environment(["run.py", "name=a b"], "cpu")
    assert re.fullmatch("[0-9a-f]{40}", found["git_commit"])
    assert (found["git_branch"], found["device"], found["directory"]) == ("trunk", "cpu", str(repository))
    assert found["command"] == "run.py 'name=a b'"
    assert "-one\n+two\n" in found["git_diff"]
    assert json.loads(json.dumps(found)) == found


def test_the_recorded_diff_can_be_applied(repository: Path) -> None:
    (repository / "a.txt").write_text("two\n")
    diff = describe_environment([], "cpu")["git_diff"]
    git("checkout", "a.txt")
    (repository / "change.diff").write_text(diff)
    git("apply", "change.diff")
    assert (repository / "a.txt").read_text() == "two\n"


def test_a_giant_diff_is_cut(repository: Path) -> None:
    (repository / "a.txt").write_text("many words\n" * 30_000)
    assert len(describe_environment([], "cpu")["git_diff"]) == 200_000


def test_outside_a_repository_and_without_git_its_entries_are_null(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(work.parent))
    keys = ("git_commit", "git_branch", "git_diff")
    assert [describe_environment([], "cpu")[key] for key in keys] == [None] * 3
    monkeypatch.setenv("PATH", str(work))
    assert [describe_environment([], "cpu")[key] for key in keys] == [None] * 3


def test_the_summary_has_versions_as_text_and_neither_diff_nor_command(repository: Path) -> None:
    found = summary(describe_environment(["run.py", "secret=1"], "cuda:0"))
    assert {"python", "torch", "hydra-core", "omegaconf", "git_commit", "host", "device"} <= set(found)
    assert not {"git_diff", "command", "directory"} & set(found)
    assert all(type(value) is str for value in found.values())
