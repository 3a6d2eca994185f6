"""A disk without any space under two processes: the failure of all, or of none, and no checkpoint is lost."""

import json
import shlex
import sys
from pathlib import Path

import pytest

from tests.support.comparing import assert_same_run
from tests.support.fork_server import ForkServer
from tests.support.processes import RUN as PROGRAM
from tests.support.ranks import run_ranks
from tests.support.small_disk import isolated, on_a_small_disk

WORDS = (
    "model=mlp", "model.hidden=[300]", "model.dropout=0.2", "data=synthetic", "data.shape=[300]", "data.size=64",
    "optimizer=sgd", "optimizer.momentum=0.9", "device=cpu", "batch_size=16", "max_steps=80", "eval_every=20",
    "tracker=csv", "checkpoint=every_n_steps", "checkpoint.every_steps=1",
)  # fmt: skip
"""A checkpoint has 0.8 MB."""
RUN = f"{sys.executable} -m torch.distributed.run --standalone --nproc-per-node=2 {shlex.join([PROGRAM[1], *WORDS])}"
VERIFY = f"{sys.executable} -m runner verify outputs/x"
WARN = "checkpoint.on_error=warn checkpoint.error_limit=100000"


def filling(run: str, until: str) -> str:
    """Return a command that fills the disk once a run has a checkpoint, until something is in the run's output."""
    first = f"while [ ! -e outputs/{run}/last.tar ]; do sleep 0.02; done"
    more = f"until grep -q '{until}' {run}.txt; do cat /dev/zero >> outputs/filler; sleep 0.02; done"
    return f"({first}; {more}; cp outputs/{run}/status.json {run}.json; rm outputs/filler) 2>/dev/null &"


@pytest.mark.slow
@isolated
def test_a_full_disk_ends_or_delays_all_and_the_same_command_goes_on_in_the_same_bits(
    tmp_path: Path, process: ForkServer
) -> None:
    failing = f"{filling('x', 'FAILED')} {RUN} name=x resume=auto > x.txt 2>&1; echo code $?; wait; {VERIFY}"
    going_on = f"{RUN} name=x resume=auto; echo code $?"
    warning = f"{filling('y', 'goes on')} {RUN} name=y {WARN} > y.txt 2>&1; echo code $?; wait"
    outcome = on_a_small_disk(tmp_path, "size=9m", f"{failing}; {going_on}; {warning}; cp -r outputs kept")
    said = [(tmp_path / f"{name}.txt").read_text() for name in "xy"]
    text = outcome.stdout + outcome.stderr + "".join(said)
    codes = [line for line in outcome.stdout.splitlines() if line.startswith("code")]
    assert codes == ["code 1", "code 0", "code 0"] and "a resume of outputs/x would take" in outcome.stdout, text
    assert said[0].count("every earlier checkpoint is untouched") == 1 and "training goes on" in said[1], text
    status = json.loads((tmp_path / "x.json").read_text())
    assert status["state"] == "failed" and "No space left on device; 0 MiB are free" in status["reason"], status
    assert run_ranks(process, tmp_path, 2, *WORDS, "name=whole")[0] == [0, 0]
    for name in "xy":
        assert_same_run(tmp_path / "outputs/whole", tmp_path / "kept" / name)
