"""The file tools, on what real tiny runs leave behind."""

import io
import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import runner
from runner.commands.tools.verify import verify_command
from runner.run_directory.ownership import Ownership
from runner.run_directory.status import Status, read_status, write_status
from tests.support.command_line import TINY, Outcome, cli, trained_in
from tests.support.processes import python


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run of one epoch; for reading only."""
    return trained_in(tmp_path_factory.mktemp("runs"), *TINY, "epochs=1", "name=s/a") / "outputs/s/a"


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


def test_list_tells_metric_model_and_rate_of_the_newest_attempt_and_sorts(
    run: Path, tmp_path: Path, tool: Callable[..., Outcome]
) -> None:
    [entry] = json.loads(tool("list", run.parents[1], "--json").out)
    assert (entry["monitor"], entry["model"], entry["lr"]) == ("val/loss", "Mlp", 0.002)
    for name, best in (("a", 0.5), ("b", None), ("c", 0.25)):
        stopped(tmp_path / name, run, best_metric=best)
    (tmp_path / "c/attempts/0002.json").write_text(
        (run / "attempts/0001.json").read_text().replace('"attempt": 1', '"attempt": 2').replace("lr: 0.002", "lr: 0.5")
    )
    found = json.loads(tool("list", tmp_path, "--json", "--sort", "best").out)
    assert [Path(one["path"]).name for one in found] == ["c", "a", "b"] and found[0]["lr"] == 0.5
    heads, first, *_ = tool("list", tmp_path, "--sort", "best").out.splitlines()
    assert heads.split()[4:8] == ["best", "metric", "model", "lr"] and first.split()[4:8] == [
        "0.25",
        "val/loss",
        "Mlp",
        "0.5",
    ]


def test_a_run_directory_stands_for_one_of_its_files(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], tool: Callable[..., Outcome]
) -> None:
    assert str(run / "last.tar") in tool("inspect", run).out
    assert tool("diff", run, run / "last.tar").code == 0
    copy = stopped(tmp_path / "x", run)
    (copy / "last.tar").unlink()
    assert str(sorted((copy / "checkpoints").iterdir())[-1]) in tool("inspect", copy).out
    outcome = cli(capsys, "task=evaluate", f"checkpoint_path={run}", "data.split=val", "trust=[tests]")
    assert json.loads(outcome.out)["checkpoint"] == str(run / "best.tar")
    assert tool("export", copy, "--format", "state_dict", "--trust", "tests").out.startswith(str(copy / "best.pt"))
    assert isinstance(runner.load(str(run), trust=("tests",)), torch.nn.Module)
    empty = tool("inspect", tmp_path)
    assert empty.code == 2 and "holds no checkpoint; name a run's directory, or a file" in empty.err


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
    with Ownership() as ownership:
        ownership.take(tmp_path / "alive")
        alive, unreadable = json.loads(tool("list", tmp_path, "--json").out)
    assert alive["state"] == "running" and alive["continue_with"] is None
    assert unreadable["state"] == "unreadable" and unreadable["continue_with"] is None


def test_list_passes_over_what_a_sweep_has_set_aside(run: Path, tmp_path: Path, tool: Callable[..., Outcome]) -> None:
    for place in ("superseded/old", "job", "superseded-too"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        subprocess.run(["cp", "-a", str(run), str(tmp_path / place)], check=True)
    (tmp_path / "sweep.json").write_text("{}")
    listed = json.loads(tool("list", tmp_path, "--json").out)
    assert [Path(one["path"]).name for one in listed] == ["job", "superseded-too"]


def test_list_names_the_command_that_begins_a_run_without_a_checkpoint_again(
    run: Path, work: Path, tool: Callable[..., Outcome]
) -> None:
    (work / "outputs").mkdir()
    copy = stopped(work / "outputs/x", run, state="failed")
    for path in copy.rglob("*.tar"):
        path.unlink()
    [listed] = json.loads(tool("list", "--json").out)
    assert listed["continue_with"].endswith("epochs=1 name=x resume=auto")


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


@pytest.mark.parametrize(
    "words", [("list", "."), ("verify", "."), ("compare", ".", "."), ("prune", "."), ("rename", ".", "y")]
)
def test_a_light_tool_does_not_import_torch(run: Path, words: tuple[str, ...]) -> None:
    call = f"from runner.__main__ import main; sys.argv[1:] = {words!r}; main()"
    program = f"import sys; {call}; assert 'torch' not in sys.modules"
    done = python(run, "-c", program)
    assert done.returncode == 0, done.stderr


def test_verify_says_ok_of_every_file_of_a_run(run: Path, tool: Callable[..., Outcome]) -> None:
    outcome = tool("verify", run)
    *lines, resumed = outcome.out.splitlines()
    names = {Path(line.removeprefix("ok ")).name for line in lines}
    assert outcome.code == 0 and all(line.startswith("ok ") for line in lines)
    assert resumed == f"a resume of {run} would take {max((run / 'checkpoints').glob('step_*.tar'))}"
    assert names >= {"last.tar", "best.tar", "status.json", "config.yaml"} and any(n.startswith("step_") for n in names)


def test_verify_passes_over_what_a_run_at_work_has_pruned_since_it_was_listed(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = stopped(tmp_path / "x", run, state="failed")
    older, newer = copy / "checkpoints/step_0000000001.tar", copy / "checkpoints/step_0000000002.tar"
    for path in (older, newer):
        path.write_bytes(b"not whole")

    class Terminal(io.StringIO):
        def write(self, text: str) -> int:
            newer.unlink(missing_ok=True)  # after the first line, and so after the listing
            return super().write(text)

    monkeypatch.setattr("sys.stdout", terminal := Terminal())
    verify_command([str(copy)], as_json=False)
    assert f"refused {older}" in terminal.getvalue() and str(newer) not in terminal.getvalue()


def test_verify_names_the_damaged_file_and_checks_the_others(
    run: Path, tmp_path: Path, tool: Callable[..., Outcome]
) -> None:
    copy = stopped(tmp_path / "x", run, state="failed")
    (copy / "best.tar").unlink()
    content = bytearray((copy / "last.tar").read_bytes())
    content[len(content) // 2] ^= 1
    (copy / "best.tar").write_bytes(content)
    (copy / "status.json").write_text('{"state": "fini')
    outcome = tool("verify", copy)
    damaged = [line for line in outcome.out.splitlines() if line.startswith("damaged ")]
    assert outcome.code == 1 and len(damaged) == 2
    assert damaged[0].startswith(f"damaged {copy / 'best.tar'}: ") and "status.json" in damaged[1]
    assert f"ok {copy / 'last.tar'}" in outcome.out and f"ok {copy / 'config.yaml'}" in outcome.out


@pytest.mark.parametrize("changes", [{"epoch": "1"}, {"global_step": -1}, {"format": "other"}, {"version": 99}])
def test_verify_reads_what_the_file_says_of_itself(
    written: Callable[..., Path], tool: Callable[..., Outcome], changes: dict[str, object]
) -> None:
    outcome = tool("verify", written(**changes))
    assert outcome.code == 2 and outcome.out.startswith("refused ") and outcome.out.count("\n") == 1


def test_verify_notices_a_checkpoint_under_the_name_of_another_step(
    run: Path, tmp_path: Path, tool: Callable[..., Outcome]
) -> None:
    copy = stopped(tmp_path / "x", run, state="failed")
    (copy / "last.tar").rename(copy / "checkpoints" / "step_0000009999.tar")
    outcome = tool("verify", copy)
    assert outcome.code == 1 and "not the step in its name" in outcome.out


def test_verify_tells_a_program_what_is_whole_and_what_a_resume_would_take(
    run: Path, tmp_path: Path, tool: Callable[..., Outcome]
) -> None:
    copy = stopped(tmp_path / "x", run, state="failed")
    newest = max((copy / "checkpoints").glob("step_*.tar"))
    said = json.loads(tool("verify", copy, "--json").out)
    assert said["ok"] and said["resumes"] == {str(copy): str(newest)}
    content = newest.read_bytes()
    newest.unlink()
    newest.write_bytes(content[:-1])
    outcome = tool("verify", copy, "--json")
    said = json.loads(outcome.out)
    assert outcome.code == 1 and not said["ok"] and said["resumes"] == {str(copy): str(copy / "last.tar")}
    assert [file["path"] for file in said["files"] if not file["ok"]] == [str(newest)]
    for path in copy.rglob("*.tar"):
        path.write_bytes(b"")
    outcome = tool("verify", copy, "--json")
    assert outcome.code == 2 and json.loads(outcome.out)["resumes"] == {str(copy): None}


@pytest.mark.parametrize("name", ["none.tar", "none\x1b/status.json", "."])
def test_verify_says_what_is_missing_in_one_line(tmp_path: Path, tool: Callable[..., Outcome], name: str) -> None:
    outcome = tool("verify", tmp_path / name)
    assert outcome.code == 2 and outcome.out.startswith("missing ")
    assert outcome.out.count("\n") == 1 and "\x1b" not in outcome.out and not outcome.err


def test_a_file_differs_in_nothing_from_itself(run: Path, tool: Callable[..., Outcome]) -> None:
    outcome = tool("diff", run / "last.tar", run / "last.tar")
    assert outcome.code == 0 and outcome.out.startswith("equal: ")


def test_diff_names_what_differs_and_by_how_much(written: Callable[..., Path], tool: Callable[..., Outcome]) -> None:
    state = {"a": torch.zeros(3), "b": torch.zeros(2), "c": torch.zeros(1), "n": torch.tensor([float("nan")])}
    one = written("one.tar", model_state_dict=state, config="seed: 0\ndata: {size: 1}\n")
    changed = {**state, "a": torch.tensor([0.0, -0.5, 0.0]), "b": torch.zeros(2, 2), "d": torch.zeros(1)}
    del changed["c"]
    other = written("other.tar", model_state_dict=changed, config="seed: 0\ndata: {size: 2}\n", epoch=2)
    outcome = tool("diff", one, other)
    assert outcome.code == 1
    assert outcome.out.splitlines() == [
        "epoch: 1 -> 2",
        "config.data.size: 1 -> 2",
        "model.a: 1 of 3 elements, by up to 0.5",
        "model.b: float32 (2,) -> float32 (2, 2)",
        "model.c: only in the first",
        "model.d: only in the second",
    ]


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.bfloat16, torch.complex64, torch.float8_e4m3fn])
def test_diff_compares_tensors_of_every_kind(
    written: Callable[..., Path], tool: Callable[..., Outcome], dtype: torch.dtype
) -> None:
    one = written("one.tar", model_state_dict={"a": torch.zeros(2).to(dtype)})
    other = written("other.tar", model_state_dict={"a": torch.ones(2).to(dtype)})
    assert tool("diff", one, one).code == 0
    assert tool("diff", one, other).out == "model.a: 2 of 2 elements, by up to 1\n"


def test_diff_turns_down_what_is_damaged_or_missing_in_one_line(
    run: Path, tmp_path: Path, tool: Callable[..., Outcome]
) -> None:
    damaged = tmp_path / "damaged.tar"
    damaged.write_bytes((run / "last.tar").read_bytes()[:-100])
    for path in (damaged, tmp_path / "none\x1b.tar"):
        outcome = tool("diff", run / "last.tar", path)
        assert outcome.code == 2 and outcome.err.count("\n") == 1 and "\x1b" not in outcome.err
