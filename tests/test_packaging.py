"""The project installed as a package: what it holds, where it finds its config, and the command `runner-train`."""

import os
import subprocess
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.support import REPOSITORY
from tests.support.installing import borrowing_environment, copied, run, wheel_of

FAST = ("data=synthetic", "data.size=64", "max_steps=2")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel."""
    work = tmp_path_factory.mktemp("wheel")
    return wheel_of(copied(work / "source"), work / "wheel")


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment in which the wheel is installed."""
    return borrowing_environment(tmp_path_factory.mktemp("installed") / "environment", str(wheel))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a model and a config option for it."""
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n\n\nclass Net(nn.Sequential):\n"
        "    def __init__(self, in_features, num_classes):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(in_features, num_classes))\n"
    )
    (tmp_path / "options/model").mkdir(parents=True)
    (tmp_path / "options/model/mine.yaml").write_text("_target_: mine.Net\n")
    return tmp_path


def test_every_folder_of_the_program_is_packaged() -> None:
    listed = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {path.parent.relative_to(REPOSITORY) for path in (REPOSITORY / "runner").rglob("*.py")}
    assert sorted(listed) == sorted({".".join(folder.parts) for folder in folders} | {"runner.conf"})


def test_the_wheel_holds_the_program_the_whole_of_conf_the_digits_and_the_page(wheel: Path) -> None:
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    sources = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "runner").rglob("*.py")}
    configs = {f"runner/{path.relative_to(REPOSITORY)}" for path in (REPOSITORY / "conf").rglob("*.yaml")}
    digits = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "runner/data/digits").iterdir()}
    page = {f"runner/commands/tools/listing/page.{ending}" for ending in ("css", "html", "js")}
    assert held == sources | configs | digits | page


@pytest.mark.slow
def test_an_editable_installation_uses_the_conf_of_the_repository(tmp_path: Path) -> None:
    source = copied(tmp_path / "source")
    programs = borrowing_environment(tmp_path / "environment", "--editable", str(source))
    (source / "conf/model/tiny.yaml").write_text("_target_: runner.models.Mlp\nhidden: [2]\n")
    answer = run(["runner-train", "model=tiny", "--cfg", "job"], programs=programs, cwd=tmp_path)
    assert "hidden:\n  - 2\n" in answer


def test_an_installation_carries_its_config(programs: Path, tmp_path: Path) -> None:
    answer = run(
        ["python", "-c", "import runner.wiring.config.compose as c; print(c.CONF)"], programs=programs, cwd=tmp_path
    )
    assert Path(answer.strip()).parent.name == "runner" and "site-packages" in answer
    assert "model: gan, lenet, mlp, own" in run(["runner-train", "--help"], programs=programs, cwd=tmp_path)


def test_a_config_folder_adds_options_wherever_it_is_named(programs: Path, project: Path) -> None:
    for words in (["--config-dir", "options", "model=mine"], ["model=mine", f"--config-dir={project / 'options'}"]):
        assert "mine.Net" in run(["runner-train", *words, "--cfg", "job"], programs=programs, cwd=project)


@pytest.mark.slow
def test_code_of_another_folder_is_not_built_because_a_checkpoint_names_it(programs: Path, project: Path) -> None:
    words = ["model=own", "model._target_=mine.Net", *FAST, "name=x"]
    run(["runner-train", *words], programs=programs, cwd=project)
    (project / "elsewhere").mkdir()
    command = [str(programs / "runner-train"), "task=evaluate", "checkpoint_path=../outputs/x/best.tar"]
    environment = {**os.environ, "PYTHONPATH": str(project)}
    refused = subprocess.run(command, cwd=project / "elsewhere", env=environment, capture_output=True, text=True)
    assert refused.returncode == 2 and "trust=[mine]" in refused.stderr


def test_commands_that_continue_are_shown_as_they_were_typed(programs: Path, project: Path) -> None:
    (project / "outputs/x").mkdir(parents=True)
    (project / "outputs/x/last.tar").touch()
    shown = {
        str(programs / "runner-train"): "runner-train resume=outputs/x",
        f"{programs / 'python'} {REPOSITORY / 'run.py'}": f"python {REPOSITORY / 'run.py'} resume=outputs/x",
    }
    for command, wanted in shown.items():
        answer = subprocess.run([*command.split(), "name=x"], cwd=project, capture_output=True, text=True)
        assert answer.returncode == 2 and f"continue it with {wanted}," in answer.stderr


_COMPLETING = """
eval "$(runner-train -sc install=bash)"
COMP_LINE='{line}' COMP_POINT={point} COMP_WORDS=({line}) COMP_CWORD={last}
hydra_bash_completion
echo "${{COMPREPLY[*]}}"
"""


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("runner-train optimizer.lr", "optimizer.lr="),
        ("runner-train model=l", "model=lenet"),
        ("runner-train --config-dir options model=mi", "model=mine"),
    ],
)
def test_tab_completes_the_console_script(programs: Path, project: Path, line: str, wanted: str) -> None:
    script = _COMPLETING.format(line=line, point=len(line), last=len(line.split()) - 1)
    assert run(["bash", "-c", script], programs=programs, cwd=project).strip() == wanted
