"""Real processes, real signals: whatever stops `python run.py`, the same command goes on exactly."""

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

from runner.checkpoint.listing import steps
from tests.support import REPOSITORY
from tests.support.comparing import assert_same_run
from tests.support.processes import finish, python, start, until

WORDS = (
    "model=mlp", "model.hidden=[16]", "model.dropout=0.2", "data=synthetic", "data.shape=[16]", "data.size=1200",
    "data.workers=1", "epochs=4", "batch_size=8", "log_every=10", "checkpoint=every_n_steps",
    "checkpoint.every_steps=25", "tracker=csv",
)  # fmt: skip


def wait_for_step(run: Path, step: int) -> None:
    """Wait until a checkpoint of at least this step stands."""
    until(lambda: max(steps(run), default=0) >= step)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The uninterrupted run."""
    work = tmp_path_factory.mktemp("whole")
    code, text = finish(start(work, *WORDS, "name=x"))
    assert code == 0, text
    return work / "outputs/x"


@pytest.mark.slow
def test_killed_and_terminated_at_random_the_same_command_reaches_the_same_bits(tmp_path: Path, whole: Path) -> None:
    chance = random.Random(0)
    for step, how in ((25, signal.SIGKILL), (125, signal.SIGTERM), (225, signal.SIGKILL)):
        process = start(tmp_path, *WORDS, "name=x", "resume=auto")
        wait_for_step(tmp_path / "outputs/x", step)
        time.sleep(chance.random() * 0.1)
        os.killpg(process.pid, how)
        code, text = finish(process)
        assert code == (75 if how is signal.SIGTERM else -signal.SIGKILL), text
        assert "Traceback" not in text
    code, text = finish(start(tmp_path, *WORDS, "name=x", "resume=auto"))
    assert code == 0, text
    assert_same_run(whole, tmp_path / "outputs/x")


@pytest.mark.slow
def test_ctrl_c_saves_dies_by_sigint_and_the_printed_command_goes_on(tmp_path: Path, whole: Path) -> None:
    process = start(tmp_path, *WORDS, "name=x")
    wait_for_step(tmp_path / "outputs/x", 25)
    os.killpg(process.pid, signal.SIGINT)
    code, text = finish(process)
    assert code == -signal.SIGINT
    assert text.strip().splitlines()[-1] == f"python {REPOSITORY / 'run.py'} resume=outputs/x/last.tar"
    assert "Traceback" not in text
    status = json.loads((tmp_path / "outputs/x/status.json").read_text())
    assert (status["state"], status["reason"]) == ("interrupted", "SIGINT")
    code, text = finish(start(tmp_path, "resume=outputs/x/last.tar"))
    assert code == 0, text
    assert_same_run(whole, tmp_path / "outputs/x")


@pytest.mark.slow
def test_a_damaged_newest_checkpoint_is_passed_over_aloud_and_the_end_is_the_same(tmp_path: Path, whole: Path) -> None:
    process = start(tmp_path, *WORDS, "name=x")
    wait_for_step(tmp_path / "outputs/x", 75)
    os.killpg(process.pid, signal.SIGTERM)
    assert finish(process)[0] == 75
    newest = max((tmp_path / "outputs/x/checkpoints").iterdir())
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    code, text = finish(start(tmp_path, "resume=outputs/x/last.tar"))
    assert code == 2 and "is damaged" in text
    code, text = finish(start(tmp_path, "resume=outputs/x"))
    assert code == 0, text
    assert "passed over" in text and newest.name in text
    assert_same_run(whole, tmp_path / "outputs/x")


def test_config_errors_help_and_composition_come_without_torch(tmp_path: Path) -> None:
    probe = (
        "import sys, atexit; sys.argv[0] = 'run.py'; "
        "atexit.register(lambda: print('torch' in sys.modules, file=sys.stderr)); "
        "from runner.commands.main import main; main()"
    )
    for words, code in (
        (("--help",), 0),
        (("--cfg", "job"), 0),
        (("optimizer.lrr=1",), 2),
        (("model=lenett",), 2),
        (("epochs=abc",), 2),
        (("name=../x",), 2),
        (("device=cuda:1",), 2),
        (("-m", "model=lenett"), 2),
    ):
        answer = python(tmp_path, "-c", probe, *words)
        assert answer.returncode == code, answer.stderr
        assert answer.stderr.strip().splitlines()[-1] == "False", words
        assert "Traceback" not in answer.stderr
    assert list(tmp_path.iterdir()) == []
