"""docs/tools.md: it names every tool, and its commands work in its order."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.__main__ import _parser
from tests.support import REPOSITORY
from tests.support.command_line import Outcome, cli

PAGE = (REPOSITORY / "docs/tools.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"(?:^|`)(python (?:run\.py|-m runner) [^`\n]+)", PAGE, re.MULTILINE)


def test_the_page_has_a_row_for_every_tool() -> None:
    choices = next(action.choices for action in _parser()._actions if action.dest == "tool")
    assert choices is not None and set(re.findall(r"^\| `(\w+)", PAGE, re.MULTILINE)) == set(choices)


def test_every_tool_explains_itself(tool: Callable[..., Outcome], capsys: pytest.CaptureFixture[str]) -> None:
    for name in re.findall(r"^\| `(\w+)", PAGE, re.MULTILINE):
        with pytest.raises(SystemExit) as exit_:
            tool(name, "--help")
        assert exit_.value.code == 0 and len(capsys.readouterr().out) > 200


@pytest.mark.slow
def test_the_commands_of_the_page_work_in_its_order(
    work: Path, tool: Callable[..., Outcome], capsys: pytest.CaptureFixture[str]
) -> None:
    run = [command for command in COMMANDS if "TOOL" not in command]
    assert len(run) >= 8
    for command in run:
        _, _, *words = shlex.split(command)
        outcome = tool(*words[1:]) if words[0] == "runner" else cli(capsys, *words)
        assert outcome.code == 0, (command, outcome.err)
    assert (work / "mean.tar").is_file() and (work / "outputs/digits/fast/last.tar").is_file()
