"""A sweep goes on when nobody can hear it any more, and leaves its results."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runner.commands.sweep.output import lasting_output
from tests.support import REPOSITORY
from tests.support.processes import environment

SWEEP = (
    "-m", "model=mlp", "model.hidden=[8]", "data=synthetic", "data.size=64", "device=cpu", "epochs=1", "tracker=csv",
    "seed=0,1", "name=s",
)  # fmt: skip


def test_what_cannot_be_written_fails_nobody_and_the_stream_is_the_former_one_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open("/dev/full", "w") as full, open(writer, "w") as unheard:
        monkeypatch.setattr(sys, "stdout", unheard)
        monkeypatch.setattr(sys, "stderr", full)
        with lasting_output():
            for stream in (sys.stdout, sys.stderr):
                print("x" * 100_000, file=stream)
                print("y", file=stream, flush=True)
            assert sys.stdout.isatty() is False
        assert sys.stdout is unheard and sys.stderr is full
        unheard.flush()


@pytest.mark.slow
@pytest.mark.parametrize("where", ["| head -1", "> /dev/full"])
def test_a_sweep_whose_reader_is_gone_leaves_its_results(tmp_path: Path, where: str) -> None:
    script = f"set -o pipefail; {sys.executable} {REPOSITORY}/run.py {' '.join(SWEEP)} {where}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert (tmp_path / "outputs/s/results.csv").read_text().count("finished") == 2
    assert (tmp_path / "outputs/s/best").is_symlink()
