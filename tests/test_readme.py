"""README.md, word for word: its commands in its order, its links, and how it says that the project is installed."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import REPOSITORY
from tests.support.command_line import cli

README = (REPOSITORY / "README.md").read_text()
COMMANDS = re.findall(r"python (?:run\.py|-m runner)\b[^`\n]*", README)

# Words that are added to a command whose length is not the point; the others run in full.
_SHORTER = {
    "python run.py": ["max_steps=2"],
    "experiment=fashion_mnist": ["max_steps=2"],
    "model=own": ["epochs=1"],
    "data=own": ["epochs=1"],
    "-m model=lenet,mlp": ["max_steps=2"],
}
_FASHION = Path("/usr/share/datasets/fashion-mnist")  # of Debian's package, which CI installs

_MY_PACKAGE = """
import torch
from torch import nn
from torch.utils.data import TensorDataset


class MyNet(nn.Sequential):
    def __init__(self, in_features, num_classes, hidden):
        super().__init__(nn.Flatten(), nn.Linear(in_features, hidden), nn.ReLU(), nn.Linear(hidden, num_classes))


class MyData:
    in_channels, image_size, num_classes = 1, (32, 32), 10

    def __init__(self, folder):
        assert folder == "somewhere"
        self.train = self.val = TensorDataset(torch.randn(64, 1, 32, 32), torch.arange(64) % 10)
"""


@pytest.fixture
def work(work: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to run in, with the package that the README's user brings."""
    (work / "my_package.py").write_text(_MY_PACKAGE)
    monkeypatch.syspath_prepend(str(work))
    monkeypatch.setenv("XDG_CACHE_HOME", str(work / "no-cache"))
    monkeypatch.delitem(sys.modules, "my_package", raising=False)
    return work


def _added(command: str) -> list[str]:
    return next((more for part, more in _SHORTER.items() if part == command or f" {part}" in command), [])


def _run(capsys: Any, command: str) -> tuple[int, str]:
    """Run a command of the README, its own words unchanged; return its exit code and what it said."""
    program, *words = shlex.split(command)[1:]
    if program == "run.py":
        outcome = cli(capsys, *words, *_added(command))
        return outcome.code, outcome.out + outcome.err
    called = [sys.executable, program, *words]
    done = subprocess.run(called, env={"PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_every_command_of_the_readme_succeeds_in_its_order(work: Path, capsys: Any) -> None:
    for command in COMMANDS:
        code, said = _run(capsys, command)
        if "fashion_mnist" in command and not _FASHION.is_dir():
            assert code == 2 and "is not in" in said
        else:
            assert code == 0, f"{command} ended with {code}:\n{said}"


def test_the_five_commands_and_the_others_are_found() -> None:
    starts = [" ".join(command.split()[1:3]) for command in COMMANDS]
    assert starts[0] == "run.py"
    assert {"run.py name=digits", "run.py resume=outputs/digits/last.tar", "-m runner", "run.py -m"} <= set(starts)
    assert len(COMMANDS) >= 11
    assert all(any(f" {part}" in command or part == command for command in COMMANDS) for part in _SHORTER)


@pytest.mark.parametrize(
    "command",
    [
        "python -m pip install -e . && python run.py",
        'python -m pip install -e ".[dev]" && python -m pytest',
    ],
)
def test_the_readme_says_how_to_install(command: str) -> None:
    assert f"\n```\n{command}\n```\n" in README


def test_every_link_of_the_readme_leads_to_a_file() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("https://")]
    assert "docs/own-work.md" in links
    assert all((REPOSITORY / link).is_file() for link in links)
