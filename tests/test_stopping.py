"""Real signals at awkward moments: whatever is going on then, the same command reaches the uninterrupted run's bits."""

import json
import os
import pty
import signal
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from runner.checkpoint.listing import newest_valid, steps
from tests.support import REPOSITORY
from tests.support.command_line import SIGNALLED
from tests.support.comparing import assert_same_run
from tests.support.fork_server import ForkServer
from tests.support.processes import python

HEAVY = ("+model.mebibytes=100",)  # a save takes some tenths of a second
SIGINT = -signal.SIGINT


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, process: ForkServer) -> Path:
    """The uninterrupted run."""
    work = tmp_path_factory.mktemp("whole")
    code, text = process.run(work, *SIGNALLED)
    assert code == 0, text
    return work / "outputs/x"


def state_of(work: Path) -> tuple[str, str | None]:
    status = json.loads((work / "outputs/x/status.json").read_text())
    return status["state"], status["reason"]


def folders(tmp_path: Path, names: Iterable[str]) -> dict[str, Path]:
    """Return a new directory for each name."""
    made = {name: tmp_path / f"{number}" for number, name in enumerate(names)}
    for folder in made.values():
        folder.mkdir()
    return made


def assert_continue(process: ForkServer, works: Iterable[Path], whole: Path, *words: str) -> None:
    """Assert that the same command finishes each run exactly and leaves nothing half-written."""
    for work, run in [(work, process.start(work, *SIGNALLED, *words)) for work in works]:
        code, text = run.finish()
        assert code == 0 and "Traceback" not in text, text
        assert state_of(work)[0] == "finished"
        assert not list((work / "outputs").rglob("*.tmp-*"))
        assert_same_run(whole, work / "outputs/x")


COMMON = {
    "step:4:SIGHUP": 75,
    "step:15:SIGTERM": 75,  # the last
    "evaluation:2:SIGTERM": 75,
    "test:1:SIGINT": SIGINT,
    "item:20:SIGTERM+0.1": 75,
}
RARE = {
    "step:1:SIGTERM": 75,
    "step:15:SIGINT": SIGINT,
    "step:7:SIGTERM,SIGTERM": 75,  # some schedulers send it twice
    "evaluation:2:SIGINT": SIGINT,
    "test:1:SIGTERM": 75,
    "product:7:SIGUSR1+0.1": 75,
}


@pytest.mark.parametrize("moments", [COMMON, pytest.param(RARE, marks=pytest.mark.slow)], ids=["common", "rare"])
def test_a_stop_at_any_moment_is_a_good_checkpoint_and_the_same_command_goes_on_exactly(
    tmp_path: Path, process: ForkServer, whole: Path, moments: dict[str, int]
) -> None:
    works = folders(tmp_path, moments)
    runs = {moment: process.start(work, *SIGNALLED, MOMENT=moment) for moment, work in works.items()}
    for moment, run in runs.items():
        code, text = run.finish()
        assert code == moments[moment] and "Traceback" not in text, (moment, text)
        assert text.strip().splitlines()[-1].endswith("resume=outputs/x/last.tar"), (moment, text)
        sent = moment.split(":")[2].split(",")[0].split("+")[0]
        assert state_of(works[moment]) == ("interrupted", sent), moment
    assert_continue(process, works.values(), whole)


@pytest.mark.slow
def test_a_stop_amid_a_save_lets_it_complete_once_and_a_second_ctrl_c_leaves_only_what_was_there(
    tmp_path: Path, process: ForkServer
) -> None:
    works = folders(tmp_path, ["", "save:3:SIGTERM+0.02", "save:3:SIGINT+0.02,SIGINT+0.06"])
    whole, polite, rude = works.values()
    runs = [process.start(work, *SIGNALLED, *HEAVY, MOMENT=moment) for moment, work in works.items()]
    for run, expected in zip(runs, (0, 75, SIGINT), strict=True):
        code, text = run.finish()
        assert code == expected and "Traceback" not in text, text
    *regular, last = stored_steps(polite)
    assert regular == [5, 10] and 10 < last < 15  # the signal came in the save of step 10, or soon after it
    assert state_of(polite) == ("interrupted", "SIGTERM")
    assert 5 in stored_steps(rude)  # the save was cut off, or had just ended
    newest = rude / f"outputs/x/checkpoints/step_{stored_steps(rude)[-1]:010d}.tar"
    assert newest_valid(rude / "outputs/x") == (newest, [])
    assert_continue(process, [polite, rude], whole / "outputs/x", *HEAVY)


def stored_steps(work: Path) -> list[int]:
    return sorted(steps(work / "outputs/x"))


@pytest.mark.slow
def test_a_second_ctrl_c_does_not_wait_for_what_is_running(tmp_path: Path, process: ForkServer, whole: Path) -> None:
    began = time.monotonic()
    run = process.start(tmp_path, *SIGNALLED, MOMENT="item:20:SIGINT+0.1,SIGINT+0.3", ITEM_SECONDS="30")
    assert run.finish()[0] == SIGINT and time.monotonic() - began < 25
    assert "stopped by" not in run.text() and "Traceback" not in run.text()
    assert_continue(process, [tmp_path], whole)


WORKERS = {
    "died": {"MOMENT": "worker:30:SIGKILL"},
    "died amid a step": {"KILL_WORKER_AT": "7"},
    "hangs": {"MOMENT": "worker:30:SIGSTOP"},
}


@pytest.mark.slow
def test_a_worker_that_dies_or_hangs_is_one_sentence_and_the_last_complete_step_is_saved(
    tmp_path: Path, process: ForkServer, whole: Path
) -> None:
    works = folders(tmp_path, WORKERS)
    words = (*SIGNALLED, "data.workers=1", "data.timeout=3")
    runs = {case: process.start(work, *words, **WORKERS[case]) for case, work in works.items()}
    for case, run in runs.items():
        code, text = run.finish()
        assert code == 1 and "Traceback" not in text, (case, text)
        assert ("data.timeout" if case == "hangs" else "a data worker died") in text, text
        state, reason = state_of(works[case])
        assert state == "failed" and str(reason).startswith("WorkerFailed: "), case
        assert max(stored_steps(works[case])) == json.loads((works[case] / "outputs/x/status.json").read_text())["step"]
        assert not group_of(run.pid), case
    assert max(stored_steps(works["died amid a step"])) == 7
    assert_continue(process, works.values(), whole, "data.workers=1")


def group_of(leader: int) -> list[int]:
    """Return the living processes of a session."""
    stats = [path.read_text().rpartition(")")[2].split() for path in Path("/proc").glob("[0-9]*/stat")]
    return [int(fields[3]) for fields in stats if int(fields[3]) == leader and fields[0] != "Z"]


@pytest.mark.slow
def test_a_terminal_that_goes_away_stops_the_run_with_a_checkpoint(
    tmp_path: Path, process: ForkServer, whole: Path
) -> None:
    ours, theirs = pty.openpty()
    run = process.start(tmp_path, *SIGNALLED, terminal=os.ttyname(theirs), MOMENT="item:30:SIGCONT", ITEM_SECONDS="2")
    while not (tmp_path / "outputs/x/checkpoints/step_0000000005.tar").exists():
        os.read(ours, 1 << 16)
    os.close(theirs)
    os.close(ours)
    assert run.finish()[0] == 75
    assert state_of(tmp_path) == ("interrupted", "SIGHUP")
    assert_continue(process, [tmp_path], whole)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_before_anything_was_made_a_signal_leaves_nothing(tmp_path: Path, process: ForkServer, name: str) -> None:
    code, text = process.run(tmp_path, *SIGNALLED, MOMENT=f"build:1:{name}")
    assert (code, text) == (-getattr(signal, name), "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("module", ["hydra", "runner.wiring.config.compose", "torch"])
def test_ctrl_c_during_the_imports_is_a_quiet_death(tmp_path: Path, module: str) -> None:
    program = f"""
import os, runpy, signal, sys
class Press:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Press())
sys.argv = ["run.py", "model=mlp"]
runpy.run_path({str(REPOSITORY / "run.py")!r}, run_name="__main__")
"""
    answer = python(tmp_path, "-c", program)
    assert (answer.returncode, answer.stdout, answer.stderr) == (SIGINT, "", "")
    assert list(tmp_path.iterdir()) == []
