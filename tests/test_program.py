"""How the program was started decides what it shows as its command, and whose folder it trusts."""

import sys
from pathlib import Path

import pytest

from runner.wiring.overrides.arguments import command
from runner.wiring.overrides.program import find_project, parallel_command, program_name, project_folder

pytestmark = pytest.mark.usefixtures("work")


def started_as(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    monkeypatch.setattr(sys, "argv", [program, "epochs=1"])


@pytest.mark.parametrize(
    ("program", "shown"),
    [
        ("run.py", "python run.py resume=outputs/x"),
        ("../project/run.py", "python ../project/run.py resume=outputs/x"),
        ("/my projects/run.py", "python '/my projects/run.py' resume=outputs/x"),
        ("/venv/bin/runner-train", "runner-train resume=outputs/x"),
        ("/venv/lib/python3.11/site-packages/runner/__main__.py", "runner-train resume=outputs/x"),
    ],
)
def test_a_command_is_shown_as_the_user_types_it(monkeypatch: pytest.MonkeyPatch, program: str, shown: str) -> None:
    started_as(monkeypatch, program)
    assert command("resume=outputs/x") == shown


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["../run.py", "model=lenet", "name=a b"], "../run.py model=lenet 'name=a b'"),
        (
            ["run.py", "strategy=data_parallel", "epochs=3", "device.index=[0,2]"],
            "run.py epochs=3 'device.index=[0,2]'",
        ),
        (["/venv/bin/runner-train", "resume=outputs/x"], "--no-python runner-train resume=outputs/x"),
    ],
)
def test_the_same_words_start_a_process_for_each_gpu(
    monkeypatch: pytest.MonkeyPatch, argv: list[str], shown: str
) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    assert parallel_command(2) == f"torchrun --nproc-per-node=2 {shown} strategy=auto"


def test_the_file_tools_show_run_py_where_there_is_one(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (work / "run.py").touch()
    started_as(monkeypatch, str(work / "runner/__main__.py"))
    assert command("resume=outputs/x") == "python run.py resume=outputs/x"


def test_the_folder_of_a_script_is_the_project(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started_as(monkeypatch, "deep/run.py")
    assert project_folder() == work / "deep"


def test_help_calls_the_program_what_the_user_calls_it(monkeypatch: pytest.MonkeyPatch) -> None:
    started_as(monkeypatch, "/my projects/run.py")
    assert program_name() == "python run.py"
    started_as(monkeypatch, "/venv/bin/runner-train")
    assert program_name() == "runner-train"


@pytest.mark.parametrize(
    "program",
    [
        "/venv/bin/runner-train",
        "/venv/lib/python3.11/site-packages/ipykernel_launcher.py",
        "/venv/lib/python3.11/site-packages/runner/__main__.py",
        "-c",
        "",
    ],
)
def test_without_a_script_of_the_users_the_current_directory_is_the_project(
    work: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    started_as(monkeypatch, program)
    assert project_folder() == work


def test_the_projects_folder_comes_first_where_python_looks_for_modules(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", ["/venv/bin"])
    started_as(monkeypatch, "/venv/bin/runner-train")
    find_project()
    find_project()
    assert sys.path == [str(work), "/venv/bin"]
