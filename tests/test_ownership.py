"""One process at a time in a run directory: a kernel lock that ends with its owner, and readers that disturb nobody."""

import errno
import fcntl
import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import Any

import pytest

from runner.checkpoint.format import read_entries
from runner.checkpoint.listing import newest_valid
from runner.checkpoint.sharded.opening import verify
from runner.commands.tools.listing.command import Asked, list_command
from runner.errors import CheckpointMissing, LeadsElsewhere, RunInUse
from runner.run_directory.claim import holds_run, is_taken
from runner.run_directory.ownership import FILE, Ownership, check_unowned, is_owned, owner_of
from runner.run_directory.status import Status, read_status, write_status
from tests.support import REPOSITORY
from tests.support.command_line import SIGNALLED, TINY, cli
from tests.support.comparing import assert_same_run
from tests.support.fork_server import ForkServer
from tests.support.processes import environment, python

TIMES = ("2026-01-01T00:00:00+00:00",) * 2  # of a status

OWN = """
import os, sys, time
from pathlib import Path
from runner.run_directory.ownership import Ownership
ownership = Ownership()
ownership.take(Path.cwd())
ownership.sign()
"""


@contextmanager
def another(directory: Path, program: str = OWN) -> "Iterator[subprocess.Popen[str]]":
    """Run a program in `directory` in another process, which says when it is ready and waits to be killed."""
    command = [sys.executable, "-c", f"{program}\nprint('ready', flush=True)\ntime.sleep(60)"]
    process = subprocess.Popen(command, cwd=directory, env=environment(), stdout=subprocess.PIPE, text=True)
    with process:
        try:
            assert process.stdout and process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def times(directory: Path) -> dict[Path, int]:
    """Return when each file below was changed, and the directory itself."""
    return {path: path.stat().st_mtime_ns for path in (directory, *directory.rglob("*"))}


def seconds_to_take(directory: Path, patience: float = 15) -> float:
    began = time.monotonic()
    with Ownership(patience) as ownership:
        ownership.take(directory)
        return time.monotonic() - began


def test_a_second_is_refused_at_once_by_one_sentence_and_touches_nothing(tmp_path: Path) -> None:
    with another(tmp_path) as owner:
        before, began = times(tmp_path), time.monotonic()
        with pytest.raises(RunInUse) as refusal, Ownership() as second:
            second.take(tmp_path)
        assert time.monotonic() - began < 5
        assert re.search(rf"process {owner.pid} of host {platform.node()}, since \d{{4}}-.*name=", str(refusal.value))
        assert refusal.value.exit_code == 2 and times(tmp_path) == before
        with pytest.raises(RunInUse):
            check_unowned(tmp_path)
        owner.kill()
        owner.wait()
        assert seconds_to_take(tmp_path) < 5
    check_unowned(tmp_path)


def test_an_owner_lets_go_at_its_end_and_leaves_an_empty_lock_file(tmp_path: Path) -> None:
    with Ownership() as ownership:
        ownership.take(tmp_path)
        ownership.sign()
        assert owner_of(tmp_path) is not None and is_owned(tmp_path)
        assert ownership.holds(tmp_path / "." / ".." / tmp_path.name)
    assert not ownership.holds(tmp_path) and not is_owned(tmp_path)
    assert (tmp_path / FILE).read_bytes() == b""


DEAD = json.dumps({"host": platform.node(), "pid": 2**22 - 1, "started": "2026-01-01T00:00:00+00:00"})
STALE = [
    DEAD, DEAD.replace(platform.node(), "elsewhere"), DEAD.replace(str(2**22 - 1), str(os.getppid())), "", "{", "[]",
    "null", '{"pid": 1}', DEAD.replace(platform.node(), "\\u001b[31m"), DEAD.replace("2026-01-01", "\\u001b"),
    DEAD.replace(str(2**22 - 1), "-1"), "[" * 900,
]  # fmt: skip


@pytest.mark.parametrize("text", STALE, ids=range(len(STALE)))
def test_a_lock_file_without_an_owner_is_no_obstacle(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    assert seconds_to_take(tmp_path) < 5  # the wait for what lingers is three times that


def test_what_a_stranger_put_in_the_lock_files_place_is_refused_and_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / FILE).symlink_to("mine")
    with pytest.raises(LeadsElsewhere, match=r"\.lock is a link"):
        seconds_to_take(tmp_path)
    assert is_owned(tmp_path) is None and (tmp_path / "mine").read_text() == "mine"
    (tmp_path / FILE).unlink()
    os.mkfifo(tmp_path / FILE)
    assert owner_of(tmp_path) is None  # and does not wait for somebody to write


def test_the_lock_survives_our_own_opens_forks_and_new_processes_and_holds_against_ourselves(tmp_path: Path) -> None:
    with Ownership() as ownership:
        ownership.take(tmp_path)
        ownership.sign()
        (tmp_path / FILE).read_text()
        assert is_owned(tmp_path) and owner_of(tmp_path)
        if (child := os.fork()) == 0:
            os._exit(0)
        os.waitpid(child, 0)
        subprocess.run([sys.executable, "-c", ""], close_fds=False, check=True)
        assert is_owned(tmp_path)
        with pytest.raises(RunInUse):
            seconds_to_take(tmp_path, patience=0.1)


def test_a_forked_child_of_a_killed_owner_holds_nothing(tmp_path: Path) -> None:
    forking = f"{OWN}\nchild = os.fork()\nif child == 0:\n    time.sleep(60)\nPath('child').write_text(str(child))"
    with another(tmp_path, forking) as owner:
        owner.kill()
        owner.wait()
        child = int((tmp_path / "child").read_text())
        os.kill(child, 0)
        assert seconds_to_take(tmp_path) < 5
        os.kill(child, signal.SIGKILL)


def test_what_a_dead_owner_left_behind_is_waited_for_and_then_named(tmp_path: Path) -> None:
    inheriting = f"{OWN}\nimport subprocess\nos.set_inheritable(ownership._descriptor, True)\n" + (
        "subprocess.Popen(['sleep', '1.5'], close_fds=False, stdout=subprocess.DEVNULL)"
    )
    with another(tmp_path, inheriting) as owner:
        owner.kill()
        owner.wait()
        with pytest.raises(RunInUse, match=rf"process {owner.pid} of host .*, now dead, left behind"):
            seconds_to_take(tmp_path, patience=0.2)
        assert 0.2 < seconds_to_take(tmp_path) < 5


def test_without_locks_a_record_of_a_living_owner_refuses(tmp_path: Path, monkeypatch: Any, caplog: Any) -> None:
    def flock(descriptor: int, kind: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    record = tmp_path / FILE
    living = DEAD.replace(str(2**22 - 1), str(os.getppid()))
    elsewhere = DEAD.replace(platform.node(), "elsewhere")
    for text in (living, elsewhere):  # the other host has written just now
        record.write_text(text)
        with pytest.raises(RunInUse):
            seconds_to_take(tmp_path)
    os.utime(record, (0, 0))
    assert seconds_to_take(tmp_path) < 5  # the wait for what lingers is three times that
    for text in ("", DEAD):
        record.write_text(text)
        with Ownership() as ownership:
            ownership.take(tmp_path)
            ownership.sign()
            assert owner_of(tmp_path) and is_owned(tmp_path) is None
        assert record.read_text() == ""
    assert "without locks" in caplog.text


def test_running_is_interrupted_when_the_number_is_of_another_process(tmp_path: Path) -> None:
    status = Status("running", 7, 1, 2, None, None, os.getppid(), platform.node(), *TIMES)
    write_status(tmp_path, status)
    assert read_status(tmp_path) == status  # nothing else is known
    with another(tmp_path):
        assert read_status(tmp_path) == status
    found = read_status(tmp_path)
    assert found is not None and found.state == "interrupted"


def test_a_lock_file_alone_takes_no_name_and_is_of_a_run_that_can_go_on(tmp_path: Path) -> None:
    assert not is_taken(tmp_path) and not holds_run(tmp_path)
    (tmp_path / FILE).touch()
    assert not is_taken(tmp_path) and holds_run(tmp_path)
    (tmp_path / "run.log").touch()
    assert is_taken(tmp_path)


# The command line


@pytest.mark.parametrize("left", [[FILE], [FILE, "run.log"], [FILE, "run.log", ".hydra/config.yaml"], ["status.json"]])
def test_whatever_a_start_that_was_cut_off_has_left_the_same_command_goes_on(
    work: Path, capsys: Any, left: list[str]
) -> None:
    for name in left:
        (work / "outputs/x" / name).parent.mkdir(parents=True, exist_ok=True)
        (work / "outputs/x" / name).touch()
    assert cli(capsys, *TINY, "max_steps=1", "name=x", "resume=auto").code == 0


def test_a_directory_that_is_no_run_gets_no_lock_file(work: Path, capsys: Any) -> None:
    (work / "outputs/notes").mkdir(parents=True)
    (work / "outputs/notes/a.txt").touch()
    before = times(work)
    for words in (["name=notes", "resume=auto"], ["resume=outputs/notes"], ["resume=outputs"], ["name=notes"]):
        assert cli(capsys, *TINY, *words).code == 2
    assert times(work) == before


@pytest.mark.slow
def test_beside_a_living_owner_every_start_is_refused_untouched_and_every_reader_reads(work: Path, capsys: Any) -> None:
    run = work / "outputs/x"
    assert cli(capsys, *TINY, "max_steps=2", "name=x").code == 0
    with another(run) as owner:
        before = times(work)
        for words in (
            ["name=x"], ["name=x", "resume=auto", "max_steps=4"], ["resume=outputs/x"], ["resume=outputs/x/last.tar"],
            [f"resume={min((run / 'checkpoints').iterdir())}", "rewind=true"],
        ):  # fmt: skip
            began = time.monotonic()
            answer = cli(capsys, *TINY, *words) if words[0] == "name=x" else cli(capsys, *words)
            assert answer.code == 2 and f"is in use by process {owner.pid} of host" in answer.err, words
            assert time.monotonic() - began < 2  # a start-up included, and other processes beside it
        assert cli(capsys, "task=evaluate", "checkpoint_path=outputs/x/best.tar", "trust=[tests]").code == 0
        tools = ([tool, "outputs/x/last.tar"] for tool in ("inspect", "verify"))
        for words in (["list"], ["verify", "outputs/x"], *tools):
            assert python(work, "-m", "runner", *words).returncode == 0
        assert times(work) == before
        assert cli(capsys, *TINY, "resume=outputs/x/last.tar", "name=fork", "max_steps=3").code == 0
        assert {path: at for path, at in times(work).items() if run in (path, *path.parents)} == {
            path: at for path, at in before.items() if run in (path, *path.parents)
        }
        owner.kill()
        owner.wait()
        assert cli(capsys, *TINY, "name=x", "resume=auto", "max_steps=4").code == 0


@pytest.mark.slow
def test_a_job_whose_directory_another_process_has_fails_alone(work: Path, capsys: Any) -> None:
    words = ("-m", "hydra/launcher=basic", *TINY, "max_steps=1", "name=s", "optimizer.lr=0.1,0.2")
    assert cli(capsys, *words).code == 0
    first, second = (path.parent for path in sorted((work / "outputs/s").glob("*/status.json")))
    (second / "status.json").unlink()
    with another(first) as owner:
        before = times(first)
        answer = cli(capsys, *words)
        assert answer.code == 1 and f"/outputs/s/{first.name} is in use by process {owner.pid}" in answer.err
        assert times(first) == before and read_status(second) is not None


@pytest.mark.slow
def test_a_finished_run_is_said_to_be_without_a_touch_and_also_where_nothing_can_be_written(
    work: Path, capsys: Any
) -> None:
    nobody = ["setpriv", "--reuid=65534", "--clear-groups", sys.executable]
    tried = subprocess.run([*nobody, "-c", "import hydra, torch"], capture_output=True) if which("setpriv") else None
    if tried is None or tried.returncode:
        pytest.skip("no user without rights can run this installation")
    assert cli(capsys, *TINY, "max_steps=1", "name=x").code == 0
    before = times(work)
    assert "finished already" in cli(capsys, "resume=outputs/x").out
    assert times(work) == before
    (work / "outputs/x" / FILE).unlink()
    for folder in (work / "outputs/x", work / "outputs", work):
        folder.chmod(0o555)
    command = [*nobody, str(REPOSITORY / "run.py")]
    answer = subprocess.run([*command, "resume=outputs/x"], capture_output=True, text=True, env=environment())
    assert answer.returncode == 0 and "finished already" in answer.stdout, answer.stderr
    answer = subprocess.run(
        [*command, "resume=outputs/x", "max_steps=3"], capture_output=True, text=True, env=environment()
    )
    assert answer.returncode == 2 and "cannot be written by this user" in answer.stderr


@pytest.mark.slow
def test_of_ten_starts_at_once_exactly_one_trains_and_of_ten_resumes_as_well(
    tmp_path: Path, process: ForkServer
) -> None:
    whole, work = tmp_path / "whole", tmp_path / "work"
    whole.mkdir()
    work.mkdir()
    assert process.run(whole, *SIGNALLED)[0] == 0
    for moment, ending in (("item:20:SIGTERM", 75), ("item:5:SIGCONT", 0)):
        runs = [process.start(work, *SIGNALLED, MOMENT=moment, ITEM_SECONDS="100") for _ in range(10)]
        while sum(run.ended() for run in runs) < 9:
            time.sleep(0.01)
        (work / "go").touch()
        ends = [run.finish() for run in runs]
        assert sorted(code for code, _ in ends) == sorted([ending, *[2] * 9]), ends
        assert all("outputs/x is in use by" in text for code, text in ends if code == 2), ends
        (work / "go").unlink()
    assert_same_run(whole / "outputs/x", work / "outputs/x")


@pytest.mark.slow
def test_after_a_kill_of_the_owner_alone_the_same_command_goes_on_beside_its_lingering_worker(
    tmp_path: Path, process: ForkServer
) -> None:
    words = (*SIGNALLED, "data.workers=1")
    owner = process.start(tmp_path, *words, MOMENT="worker:60:SIGSTOP")
    while not (tmp_path / "outputs/x/checkpoints/step_0000000005.tar").exists():
        time.sleep(0.01)
    os.kill(owner.pid, signal.SIGKILL)
    owner.finish()
    try:
        code, text = process.run(tmp_path, *words)
        assert code == 0 and "resuming outputs/x" in text, text
    finally:
        os.killpg(owner.pid, signal.SIGKILL)  # an error if none was left


@pytest.mark.slow
def test_readers_beside_a_run_that_saves_and_prunes_every_step_see_whole_files_only(
    tmp_path: Path, process: ForkServer, capsys: Any
) -> None:
    keys = ("epochs=40", "checkpoint=every_n_steps", "checkpoint.every_steps=1", "checkpoint.keep_last=2")
    owner = process.start(tmp_path, *SIGNALLED, *keys)
    run, rounds = tmp_path / "outputs/x", 0
    while not (run / "last.tar").exists():
        time.sleep(0.01)
    while not owner.ended():
        rounds += 1
        verify(run / "last.tar")
        checkpoint, passed_over = newest_valid(run)
        assert checkpoint is not None and all(isinstance(error, CheckpointMissing) for error in passed_over)
        assert list_command(Asked(str(tmp_path))) == 0
        assert read_status(run) is not None
    assert owner.finish()[0] == 0 and rounds > 3


@pytest.mark.parametrize("options", [(), ("checkpoint.on_error=warn",)])
def test_a_run_whose_directory_was_moved_away_saves_nothing_into_the_one_that_took_its_name(
    work: Path, capsys: Any, options: Sequence[str]
) -> None:
    words = (
        *TINY, "data._target_=tests.own.disturbed.Replaced", "checkpoint.every_steps=1",
        "checkpoint.asynchronous=false",
    )  # fmt: skip
    outcome = cli(capsys, *words, *options, "name=x")
    assert outcome.code == 1 and "another process has started there" in outcome.out
    assert (work / "outputs/x/status.json").read_text() == "another's"
    assert not list((work / "outputs/x").rglob("*.tar*"))
    assert read_entries(work / "outputs/y/last.tar")["global_step"] == 2
