"""docs/coming-from.md: its four projects are written into a folder and run."""

import json
import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support import REPOSITORY
from tests.support.comparing import assert_same_run
from tests.support.fork_server import ForkServer

PAGE = (REPOSITORY / "docs/coming-from.md").read_text()
FILES = dict(re.findall(r'^```python title="([^"]+)"\n(.*?)^```$', PAGE, re.MULTILINE | re.DOTALL))
COMMANDS = [shlex.split(block.replace("\\\n", "")) for block in re.findall(r"^```bash\n(.*?)^```$", PAGE, re.M | re.S)]
NEEDED = {"lit.py": ("lightning",), "hugging.py": ("transformers", "accelerate")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files of the page."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.slow
def test_the_project_here_trains_and_resumes(process: ForkServer, folder: Path) -> None:
    for program, *words in COMMANDS:
        code, said = process.run(folder, *words, "device=cpu", program=program)
        assert code == 0, said
    status = json.loads((folder / "outputs/spirals/status.json").read_text())
    assert (status["state"], status["epoch"], status["attempt"]) == ("finished", 12, 2)


@pytest.mark.slow
def test_killed_at_step_23_and_resumed_from_step_20_the_project_ends_in_the_same_bits(
    process: ForkServer, folder: Path
) -> None:
    shorter = ("epochs=4", "checkpoint=every_n_steps", "checkpoint.every_steps=5", "device=cpu", "tracker=csv")
    program, *words = COMMANDS[0]
    assert process.run(folder, *words, *shorter, "name=whole", program=program)[0] == 0
    assert process.run(folder, *words, *shorter, "name=killed", program=program, KILL_AT="23")[0] == -9
    code, said = process.run(folder, "resume=outputs/killed", program=program)
    assert code == 0 and "step 20" in said, said
    assert_same_run(folder / "outputs/whole", folder / "outputs/killed")


def test_the_plain_script_learns(process: ForkServer, folder: Path) -> None:
    code, said = process.run(folder, program="plain.py")
    assert code == 0 and float(said.split()[-1]) > 0.6, said


@pytest.mark.slow
@pytest.mark.parametrize("script", NEEDED)
def test_the_scripts_of_others_run(process: ForkServer, folder: Path, script: str) -> None:
    if missing := [name for name in NEEDED[script] if find_spec(name) is None]:
        pytest.skip(f"the package {missing[0]} is not installed")
    code, said = process.start(folder, program=script).finish(seconds=240)
    assert code == 0, said
