"""docs/own-work.md, word for word: its files in a folder of their own, its commands with an installed package."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy
import pytest

from runner.run_directory.attempts import read_attempts
from tests.support import REPOSITORY
from tests.support.command_line import cli
from tests.support.comparing import assert_same_run
from tests.support.installing import borrowing_environment, copied, fresh_environment, run, wheel_of

PAGE = (REPOSITORY / "docs/own-work.md").read_text()
_BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
BLOCKS = [match.groups() for match in _BLOCK.finditer(PAGE)]
FILES = {title: text for _, title, text in BLOCKS if title}
COMMANDS = [text for language, title, text in BLOCKS if language == "bash" and not title]


@pytest.mark.parametrize("choice", ["model=small", "experiment=quick"])
def test_an_option_of_ones_own_can_be_changed_on_a_resume_that_names_its_folder(
    work: Path, capsys: pytest.CaptureFixture[str], choice: str
) -> None:
    for group in ("model", "experiment"):
        (work / "mine" / group).mkdir(parents=True)
    (work / "mine/model/small.yaml").write_text("_target_: runner.models.Mlp\nhidden: [4]\ndropout: 0.1\n")
    overlay = "# @package _global_\ndefaults:\n  - override /model: small\n"
    (work / "mine/experiment/quick.yaml").write_text(overlay)
    words = [choice, "name=x", "data=synthetic", "data.size=64", "tracker=none", "max_steps=1"]
    assert cli(capsys, "--config-dir=mine", *words).code == 0
    changed = ("resume=outputs/x", "max_steps=2", "model.dropout=0.2", "resume_allow=[model.dropout]")
    resumed = cli(capsys, "--config-dir=mine", *changed)
    assert resumed.code == 0, resumed.err
    assert "model.dropout | 0.1 | 0.2 | allowed" in " ".join(resumed.out.split())


@dataclass(frozen=True)
class Project:
    """The page's folder after all of its commands."""

    folder: Path
    printed: dict[str, str]
    """What each block of commands printed."""

    def printed_by(self, words: str) -> str:
        """Return what the one block that has these words printed."""
        (found,) = (text for command, text in self.printed.items() if words in command)
        return found


@pytest.fixture(scope="module", params=[pytest.param(how, marks=pytest.mark.slow) for how in ("borrowing", "fresh")])
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The page's files written and its commands run, each of which must succeed."""
    work = tmp_path_factory.mktemp("own")
    wheel = wheel_of(copied(work / "source"), work / "wheel")
    make = borrowing_environment if request.param == "borrowing" else fresh_environment
    programs = make(work / "environment", str(wheel))
    folder = work / "my-project"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    printed = {block: run(["bash", "-ec", block], programs=programs, cwd=folder) for block in COMMANDS}
    yield Project(folder, printed)


def test_the_page_is_complete() -> None:
    tree = re.search(r"^my-project/\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert tree is not None and tree[1].split() == [*sorted(FILES, key=tree[1].find)]
    assert len(COMMANDS) == 9


def test_the_killed_run_went_on_to_the_same_bits(project: Project) -> None:
    outputs = project.folder / "outputs"
    assert json.loads((outputs / "killed/status.json").read_text())["attempt"] == 2
    assert read_attempts(outputs / "killed")[1].overrides == ["resume=outputs/killed"]
    assert_same_run(outputs / "whole", outputs / "killed")
    assert project.printed_by("compare.py") == "equal, bit for bit\n"


def test_every_run_of_the_page_finished_in_outputs(project: Project) -> None:
    found = {path.parent: json.loads(path.read_text()) for path in project.folder.glob("outputs/**/status.json")}
    assert [status["state"] for status in found.values()] == ["finished"] * 6
    names = [str(path.relative_to(project.folder / "outputs")) for path in found]
    assert sum(name.startswith("widths/") for name in names) == 2
    assert {"first", "whole", "killed", "lines"} < set(names)
    for directory in found:
        table = "metrics.jsonl" if directory.name == "lines" else "metrics.csv"
        assert {"last.tar", "best.tar", table, "config.yaml"} <= {path.name for path in directory.iterdir()}


def test_the_evaluation_repeats_what_training_reported_on_test(project: Project) -> None:
    result = json.loads(project.printed_by("task=evaluate").splitlines()[-1])
    assert result["split"] == "test" and result["checkpoint"] == "outputs/whole/best.tar"
    reported = f"best.tar on test: loss {result['loss']:.4f}  error {result['error']:.4f}"
    assert reported in project.printed_by("name=whole")


def test_a_new_file_is_predicted_for_by_the_pages_transform(project: Project) -> None:
    said = json.loads(project.printed_by("task=predict").splitlines()[-1])
    assert (said["source"], said["samples"], said["output"]) == ("new", 1, "cleaned.npz")
    with numpy.load(project.folder / "cleaned.npz") as found:
        assert found["file"].tolist() == ["new/a.npy"] and found["cleaned"].shape == (1, 1, 12, 12)


def test_the_loaded_model_answers(project: Project) -> None:
    assert project.printed_by("use.py") == "torch.Size([1, 1, 12, 12])\n"


def test_nothing_but_a_tracker_has_to_be_repeated_on_a_resume_of_code_in_the_projects_own_folder(
    project: Project,
) -> None:
    (said,) = re.findall("must repeat: (.*)", "".join(project.printed.values()))
    assert said == "+tracker.lines._target_=mywork.tracker.JsonLines +tracker.lines.digits=3"
