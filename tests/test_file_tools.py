"""The file tools, on what real tiny runs leave behind."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from runner.__main__ import main
from runner.run_directory.status import Status, read_status, write_status
from tests.support import REPOSITORY, TINY, Outcome, cli


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run of one epoch; for reading only."""
    folder = tmp_path_factory.mktemp("runs")
    words = [sys.executable, str(REPOSITORY / "run.py"), *TINY, "epochs=1", "name=s/a"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    subprocess.run(words, cwd=folder, check=True, capture_output=True, env=environment)
    return folder / "outputs" / "s" / "a"


@pytest.fixture
def tool(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """A function that calls `python -m runner` with the given words in this process."""

    def call(*words: object) -> Outcome:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["runner", *map(str, words)])
        code = main()
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


def stopped(copy: Path, run: Path, **changes: object) -> Path:
    """Copy a run with its hard links to `copy` as one that stands otherwise."""
    subprocess.run(["cp", "-a", str(run), str(copy)], check=True)
    status = read_status(copy)
    assert isinstance(status, Status)
    write_status(copy, replace(status, **changes))  # type: ignore[arg-type]
    return copy


def test_list_shows_a_finished_run_with_nothing_to_continue(run: Path, tool: Callable[..., Outcome]) -> None:
    [entry] = json.loads(tool("list", run.parents[1], "--json").out)
    assert entry["path"] == str(run) and entry["state"] == "finished" and entry["continue_with"] is None
    assert entry["epoch"] == 1 and entry["step"] > 0


def test_list_counts_a_file_of_several_names_once(run: Path, tool: Callable[..., Outcome]) -> None:
    du = subprocess.run(["find", run, "-type", "f", "-printf", "%i %b\n"], check=True, capture_output=True, text=True)
    blocks = dict(map(int, line.split()) for line in du.stdout.splitlines())
    [entry] = json.loads(tool("list", run, "--json").out)
    assert entry["size"] == 512 * sum(blocks.values())


def test_the_command_of_list_continues_the_run(
    run: Path, tmp_path: Path, tool: Callable[..., Outcome], capsys: pytest.CaptureFixture[str]
) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    copy = stopped(tmp_path / "b", run, state="running", pid=dead.pid)
    [entry] = json.loads(tool("list", tmp_path, "--json").out)
    assert entry["state"] == "interrupted"
    assert entry["continue_with"] == f"python run.py resume={copy}"
    outcome = cli(capsys, *entry["continue_with"].split()[2:], "epochs=2")
    assert outcome.code == 0 and (status := read_status(copy)) and (status.state, status.epoch) == ("finished", 2)


def test_list_quotes_a_path_that_hydra_would_misread(run: Path, tmp_path: Path, tool: Callable[..., Outcome]) -> None:
    stopped(tmp_path / "a,b c", run, state="failed")
    [entry] = json.loads(tool("list", tmp_path, "--json").out)
    assert entry["continue_with"].startswith("python run.py ") and "resume=" in entry["continue_with"]
    import shlex

    from hydra.core.override_parser.overrides_parser import OverridesParser

    [word] = shlex.split(entry["continue_with"])[2:]
    assert OverridesParser.create().parse_override(word).value() == str(tmp_path / "a,b c")


def test_list_continues_neither_a_living_run_nor_one_without_a_checkpoint(
    run: Path, tmp_path: Path, tool: Callable[..., Outcome]
) -> None:
    stopped(tmp_path / "alive", run, state="running", pid=os.getpid())
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "status.json").write_text("[" * 100_000)
    alive, unreadable = json.loads(tool("list", tmp_path, "--json").out)
    assert alive["state"] == "running" and alive["continue_with"] is None
    assert unreadable["state"] == "unreadable" and unreadable["continue_with"] is None


def test_list_keeps_control_characters_from_the_terminal(
    run: Path, tmp_path: Path, tool: Callable[..., Outcome]
) -> None:
    stopped(tmp_path / "a\x1b[31m", run, state="failed")
    table = tool("list", tmp_path).out
    assert "\x1b" not in table and "\\x1b" in table
    assert len(table.splitlines()) == 2


def test_list_names_a_directory_that_is_not_there(tmp_path: Path, tool: Callable[..., Outcome]) -> None:
    outcome = tool("list", tmp_path / "none\x1b")
    assert outcome.code == 2 and outcome.err.count("\n") == 1 and "\x1b" not in outcome.err


@pytest.mark.parametrize("words", [("list", ".")])
def test_a_light_tool_does_not_import_torch(run: Path, words: tuple[str, ...]) -> None:
    call = f"from runner.__main__ import main; sys.argv[1:] = {words!r}; main()"
    program = f"import sys; {call}; assert 'torch' not in sys.modules"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    subprocess.run([sys.executable, "-c", program], cwd=run, check=True, capture_output=True, env=environment)
