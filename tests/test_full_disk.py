"""Disks that are really full, out of names, limited or gone: one sentence, and nothing earlier is harmed."""

import shutil
import sys
import time
from pathlib import Path

import pytest

from runner.checkpoint.sharded.opening import verify
from tests.support import REPOSITORY
from tests.support.fork_server import ForkServer
from tests.support.small_disk import isolated, on_a_small_disk, shell

RUN = (
    f"{sys.executable} {REPOSITORY}/run.py model=mlp model.hidden=[300] data=synthetic data.shape=[300] data.size=64 "
    "optimizer=sgd optimizer.momentum=0.9 device=cpu batch_size=16 tracker=csv eval_every=1000 "
    "checkpoint=every_n_steps checkpoint.every_steps=1 name=x resume=auto"
)  # a checkpoint has 0.8 MB
FILLED = """
import os, pathlib
from runner.run_directory.status import Status, read_status, write_status

def write(state, reason):
    write_status(run, Status(state, 3, 1, 1, reason, None, 1, "far", "2026-01-01", "2026-01-01"))

run = pathlib.Path("outputs")
write("running", "a reason that is longer than the next one")
with open("outputs/filler", "wb", buffering=0) as filler:
    while free := os.statvfs("outputs").f_bavail:
        filler.write(bytes(512))
print(free, "bytes free")
write("failed", "no space")
print(read_status(run))
try:
    write("failed", "x" * 5000)  # more than the blocks of the file hold
finally:
    print(read_status(run))
"""
VERIFY = f"{sys.executable} -m runner verify outputs/x"


@pytest.mark.slow
@isolated
def test_a_full_disk_ends_a_run_by_one_sentence_and_the_same_command_goes_on_when_there_is_space(
    tmp_path: Path,
) -> None:
    filled = f"head -c 5000000 /dev/zero > outputs/filler; {RUN} max_steps=8; echo code $?; {VERIFY}; echo code $?"
    freed = f"rm outputs/filler; {RUN} max_steps=8; echo code $?; ls -A outputs/x/checkpoints"
    outcome = on_a_small_disk(tmp_path, "size=7m", f"{filled}; {freed}")
    text = outcome.stdout + outcome.stderr
    assert outcome.stdout.count("code 0") == 2 and outcome.stdout.count("code 1") == 1, text
    assert (
        "No space left on device" in text and "MiB are free" in text and "every earlier checkpoint is untouched" in text
    )
    assert "for checkpoints, but the disk has" in text  # said after the first save, before it came to this
    assert "Traceback" not in text and ".tmp-" not in text, text


@isolated
@pytest.mark.slow
def test_where_saves_may_fail_training_ends_well_once_there_is_space_again(tmp_path: Path) -> None:
    wait = "while [ ! -e outputs/x/last.tar ]; do sleep 0.05; done"
    fill = f"sh -c '{wait}; head -c 9000000 /dev/zero > outputs/filler; sleep 1; rm outputs/filler' 2>/dev/null &"
    run = f"{RUN} max_steps=4000 checkpoint.on_error=warn checkpoint.error_limit=100000; echo code $?"
    run = f"{run}; {VERIFY}; echo code $?"
    outcome = on_a_small_disk(tmp_path, "size=7m", f"{fill} {run}")
    text = outcome.stdout + outcome.stderr
    assert outcome.stdout.count("code 0") == 2, text
    assert "training goes on" in text and "Traceback" not in text


@isolated
def test_a_status_is_written_where_nothing_more_fits(tmp_path: Path) -> None:
    (tmp_path / "filled.py").write_text(FILLED)
    outcome = on_a_small_disk(tmp_path, "size=64k", f"{sys.executable} filled.py")
    text = outcome.stdout + outcome.stderr
    assert "OSError: [Errno 28]" in outcome.stderr and "0 bytes free\n" in outcome.stdout, text
    assert "state='failed', step=3" in outcome.stdout, text
    assert outcome.stdout.count("reason='no space'") == 2, text


@isolated
@pytest.mark.slow
def test_a_disk_without_names_left_is_one_sentence(tmp_path: Path) -> None:
    outcome = on_a_small_disk(
        tmp_path, "nr_inodes=24", f"{RUN} max_steps=40 checkpoint.keep_last=30; echo code $?; {VERIFY}"
    )
    text = outcome.stdout + outcome.stderr
    assert "code 1" in outcome.stdout and "No space left on device" in text and "Traceback" not in text, text


@pytest.mark.slow
def test_a_limit_of_the_size_of_files_is_one_sentence_and_no_death_by_a_signal(tmp_path: Path) -> None:
    outcome = shell(tmp_path, f"{RUN} max_steps=3; echo code $?", "prlimit", "--fsize=300000")
    text = outcome.stdout + outcome.stderr
    assert "code 1" in outcome.stdout and "File too large" in text and "Traceback" not in text, text
    assert not list((tmp_path / "outputs/x/checkpoints").iterdir())


@pytest.mark.slow
def test_a_directory_that_is_deleted_under_a_run_is_one_sentence(tmp_path: Path, process: ForkServer) -> None:
    words = [word for word in RUN.split() if "=" in word]
    run = process.start(tmp_path, *words, "max_steps=1000000")
    while not (tmp_path / "outputs/x/last.tar").exists():
        time.sleep(0.01)
    verify(tmp_path / "outputs/x/last.tar")
    shutil.rmtree(tmp_path / "outputs", ignore_errors=True)
    shutil.rmtree(tmp_path / "outputs", ignore_errors=True)
    code, text = run.finish()
    assert code == 1 and "could not be written" in text and "Traceback" not in text, text[-3000:]


@isolated
@pytest.mark.slow
def test_a_sweep_on_a_full_disk_says_what_came_of_it_and_its_repetition_does_the_rest(tmp_path: Path) -> None:
    words = RUN.replace("name=x resume=auto", "name=x max_steps=2 -m seed=0,1")
    fill = (
        "(until grep -qs running outputs/x/seed-1*/status.json; do sleep 0.02; done; "
        "head -c 20000000 /dev/zero > outputs/filler) 2>/dev/null &"
    )
    script = f"{fill} {words}; echo code $?; wait; rm outputs/filler; {words}; echo code $?; cat outputs/x/results.csv"
    outcome = on_a_small_disk(tmp_path, "size=9m", script)
    text = outcome.stdout + outcome.stderr
    assert "Traceback" not in text, text
    first, _, again = outcome.stdout.partition("\ncode 1\n")
    assert "best: outputs/x/seed-0-" in first and "FAILED seed-1-" in first and "No space left" in first, text
    assert "code 0" in again and again.count(",finished\n") == 2, text
