"""docs/examples: each folder is copied, and the commands of its README run in tiny form, with kills in between."""

import json
import random
import re
import shlex
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from runner.checkpoint.listing import steps
from tests.support import REPOSITORY
from tests.support.comparing import assert_same_run
from tests.support.fork_server import ForkServer, fork_server

EXAMPLES = REPOSITORY / "docs/examples"
TINY = {
    "bert": ("model.config.hidden_size=16", "model.config.num_hidden_layers=1", "optimizer.lr=0.02", "epochs=3"),
    "detection": ("data.count=80", "model.width=4", "epochs=4"),
    "distillation": ("model.student.hidden=[4]", "epochs=2", "batch_size=200"),
    "dqn": ("model.q.hidden=[8]", "learner.memory=400", "data.count=200", "epochs=2"),
    "gpt": ("model.width=8", "model.heads=2", "epochs=2", "batch_size=128"),
    "moco": ("model.encoder.width=4", "learner.length=300", "epochs=2", "batch_size=256"),
    "stream": ("model.width=8", "max_steps=16", "batch_size=256", "eval_every=null"),
    "vit": ("model.width=8", "model.depth=2", "epochs=2", "batch_size=100"),
}
"""What is added to the commands that train."""
EVERY_STEP = ("checkpoint=every_n_steps", "checkpoint.every_steps=1", "tracker=csv", "device=cpu")
NEEDED = {"bert": "transformers.models.bert.modeling_bert"}
"""What an example imports from a package that an installation may lack."""


def page(name: str) -> str:
    """Return the README of an example."""
    return (EXAMPLES / name / "README.md").read_text()


def commands(name: str) -> list[list[str]]:
    """Return the commands of a README in their order, those that train in tiny form."""
    (block,) = re.findall(r"^```bash\n(.*?)^```$", page(name), re.MULTILINE | re.DOTALL)
    lines = [line for line in block.replace("\\\n", "").splitlines() if not line.startswith("export ")]
    found = [shlex.split(line, comments=True) for line in lines]
    return [[*words, *TINY[name], *EVERY_STEP] if f"experiment={name}" in words else words for words in found]


def first_of(name: str) -> int:
    """Return the place of the command that trains; those before it prepare."""
    return next(place for place, words in enumerate(commands(name)) if f"experiment={name}" in words)


class Project:
    """A copy of an example, in which commands run."""

    def __init__(self, name: str, folder: Path, process: ForkServer) -> None:
        self.name, self.folder, self._process = name, folder, process
        self._exported = dict(re.findall(r"^export (\w+)=(\S+)$", page(name), re.MULTILINE))
        shutil.copytree(EXAMPLES / name, folder, ignore=shutil.ignore_patterns("__pycache__", "outputs"))

    def run(self, *words: str, **environment: str) -> str:
        """Run a command, which must succeed unless it is killed; return what it printed."""
        program, *rest = words[1:] if words[0] == "python" else words
        variables = {**self._exported, **environment}
        code, said = self._process.start(self.folder, *rest, program=program, **variables).finish(seconds=240)
        assert code == (-9 if "KILL_AT" in environment else 0), f"{shlex.join(words)} ended with {code}:\n{said}"
        return said

    def result(self, *words: str) -> dict[str, object]:
        """Return the JSON object that a command prints last."""
        found = json.loads(self.run(*words).splitlines()[-1])
        assert isinstance(found, dict)
        return found


@pytest.fixture(scope="module", params=[pytest.param(name, marks=pytest.mark.slow) for name in TINY])
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """An example, trained once."""
    needed = NEEDED.get(request.param, "")
    if needed and find_spec(package := needed.split(".")[0]) is None:
        pytest.skip(f"the package {package} is not installed")
    work = tmp_path_factory.mktemp(request.param)
    with fork_server(work, PRELOAD=needed) as process:
        project = Project(request.param, work / request.param, process)
        for words in commands(request.param)[: first_of(request.param) + 1]:
            project.run(*words)
        yield project


@pytest.mark.parametrize("workers", [0, 2])
def test_killed_at_three_random_steps_and_resumed_bare_it_ends_in_the_same_bits(project: Project, workers: int) -> None:
    first, resume = commands(project.name)[first_of(project.name) :][:2]
    whole, killed = project.folder / "outputs" / project.name, project.folder / f"outputs/{workers}"
    if workers and project.name == "stream":  # its workers divide the files
        project.run(*first, "name=whole", f"data.workers={workers}")
        whole = project.folder / "outputs/whole"
    one, two, three = sorted(random.sample(range(3, max(steps(whole))), 3))
    again = [word.replace(f"outputs/{project.name}", f"outputs/{workers}") for word in resume]
    project.run(*first, f"name={workers}", f"data.workers={workers}", KILL_AT=str(one))
    for step in (two, three):
        project.run(*again, KILL_AT=str(step))
    project.run(*again)
    assert json.loads((killed / "status.json").read_text())["attempt"] == 4
    assert_same_run(whole, killed)


def test_the_commands_of_the_page_succeed_and_the_evaluation_equals_a_plain_loop(project: Project) -> None:
    resume, evaluate, predict, sweep, use = commands(project.name)[first_of(project.name) + 1 :]
    assert "already" in project.run(*resume)
    evaluated, plain = project.result(*evaluate), project.result(*use)
    assert plain and {name: evaluated[name] for name in plain} == pytest.approx(plain, rel=1e-6)
    predicted = project.result(*predict)
    assert (project.folder / str(predicted["output"])).stat().st_size > 0
    assert "(2 of 2)" in project.run(*sweep)


@pytest.mark.parametrize("name", TINY)
def test_a_page_and_its_code_are_short(name: str) -> None:
    assert len(page(name).splitlines()) <= 40
    lines = [line for path in (EXAMPLES / name / name).rglob("*.py") for line in path.read_text().splitlines()]
    assert len([line for line in lines if line]) < 80


def test_every_example_is_run() -> None:
    assert sorted(TINY) == sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())
