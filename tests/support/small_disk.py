"""A disk of a few megabytes at `outputs`, which a script can fill."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import REPOSITORY

isolated = pytest.mark.skipif(
    shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"]).returncode != 0,
    reason="this machine lets nobody mount a small disk of his own",
)


def shell(work: Path, script: str, *prefix: str) -> "subprocess.CompletedProcess[str]":
    """Run a script in `work`; each command's exit code is said on stdout."""
    return subprocess.run(
        [*prefix, "sh", "-c", script], cwd=work, capture_output=True, text=True, timeout=120,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def on_a_small_disk(work: Path, options: str, script: str) -> "subprocess.CompletedProcess[str]":
    """Run a script in `work` with a small disk at `outputs`, which only the script sees."""
    return shell(work, f"mkdir outputs && mount -t tmpfs -o {options} none outputs && {script}", "unshare", "-rm")
