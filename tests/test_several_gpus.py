"""docs/several-gpus.md: its commands as they stand, but with fewer processes, on this machine's CPU."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import REPOSITORY
from tests.support.comparing import entries_of
from tests.support.processes import environment
from tests.support.ranks import free_port

PAGE = (REPOSITORY / "docs/several-gpus.md").read_text()
COMMANDS = [
    line for block in re.findall(r"^```bash\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL) for line in block.splitlines()
]
_SHORT = "device=cpu debug.limit_train=2 debug.limit_eval=1 epochs=3"


def started(work: Path, command: str, port: int) -> "subprocess.Popen[str]":
    """Start a command of the page for a short run of one or two processes on this host."""
    processes = 1 if "--nnodes" in command else 2
    changed = command.replace("--nproc-per-node=4", f"--nproc-per-node={processes}")
    changed = changed.replace("host1:29500", f"127.0.0.1:{port}").replace("run.py", f"{REPOSITORY / 'run.py'}")
    changed = re.sub(r"^(?:torchrun|python(?= .*run\.py| -m runner))", lambda found: _PROGRAMS[found[0]], changed)
    changed = changed.replace("epochs=22", "epochs=4").replace("epochs=24", "epochs=5")
    changed += "" if "resume=" in command or "-m runner" in command else f" {_SHORT}"
    return subprocess.Popen(
        ["bash", "-c", changed], cwd=work, env=environment(OMP_NUM_THREADS="1"), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


_PROGRAMS = {"torchrun": f"{sys.executable} -m torch.distributed.run", "python": sys.executable}


@pytest.mark.slow
def test_every_command_of_the_page_succeeds_in_its_order(work: Path) -> None:
    for command in COMMANDS:
        port = free_port()
        hosts = [started(work, command, port) for _ in range(2 if "--nnodes=2" in command else 1)]
        for host in hosts:
            said, _ = host.communicate(timeout=180)
            assert host.returncode == 0, f"{command}\n{said}"
    states = {path.parent.name: json.loads(path.read_text())["state"] for path in work.glob("outputs/*/status.json")}
    assert states == dict.fromkeys(("digits", "divided", "shards", "two", "long", "elastic"), "finished")
    assert entries_of(work / "outputs/digits/last.tar")["epoch"] == 5
    assert (work / "outputs/two/logs/rank_1.log").is_file()


def test_the_commands_are_found_and_links_lead_to_files() -> None:
    assert len(COMMANDS) == 11
    assert all((REPOSITORY / "docs" / link).is_file() for link in re.findall(r"\]\(([\w.-]+\.\w+)\)", PAGE))
    assert len(PAGE.splitlines()) <= 160
