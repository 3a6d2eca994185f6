"""`python -m runner prune`: says what can go, deletes it if told to, and never what somebody needs."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from runner.checkpoint.writer.whole import write_sharded
from runner.files import Disk
from runner.run_directory.ownership import Ownership
from runner.run_directory.status import read_status
from tests.support.checkpoints import entries_at, write_entries
from tests.support.command_line import TINY, Outcome, cli, trained_in
from tests.support.run_directories import write_run

Tool = Callable[..., Outcome]


def path_of(run: Path, step: int) -> Path:
    return run / f"checkpoints/step_{step:010d}.tar"


def with_checkpoints(run: Path, metrics: Sequence[float | None], best: int) -> Path:
    """Write a run with a checkpoint at each step, the metric being better when it is larger."""
    write_run(run, metric="val/loss", state="failed")
    (run / "checkpoints").mkdir()
    for step, metric in enumerate(metrics, 1):
        with open(path_of(run, step), "wb") as file:
            write_entries(file, entries_at(step, metric))
    os.link(path_of(run, len(metrics)), run / "last.tar")
    os.link(path_of(run, best), run / "best.tar")
    return run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of eight checkpoints; the best is the third, the second best the sixth."""
    return with_checkpoints(tmp_path / "outputs/x", [0.1, 0.2, 0.9, 0.3, None, 0.8, 0.4, 0.5], best=3)


def left(run: Path) -> list[int]:
    return sorted(int(path.name[5:15]) for path in (run / "checkpoints").glob("step_*.tar"))


def planned(tool: Tool, *words: object) -> Any:
    outcome = tool("prune", *words, "--json")
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out)


def test_without_yes_nothing_is_deleted_and_the_space_is_that_of_the_disk(run: Path, tool: Tool) -> None:
    before = sorted(path for path in run.rglob("*"))
    found = planned(tool, run)
    gone = [Path(path) for path in found["runs"][0]["checkpoints"]]
    assert gone == [path_of(run, step) for step in (1, 2, 4, 5, 6)] and not found["deleted"]
    assert found["bytes"] == sum(path.stat().st_blocks * 512 for path in gone)
    assert sorted(run.rglob("*")) == before and "--yes deletes them" in tool("prune", run).out


@pytest.mark.parametrize(
    ("words", "stay"),
    [
        ((), [3, 7, 8]), (("--keep-last", 1), [3, 8]), (("--keep-last", 3), [3, 6, 7, 8]),
        (("--keep-best", 2), [3, 6, 7, 8]),
        (("--keep-every", 2), [2, 3, 4, 6, 7, 8]), (("--keep-last", 100), [1, 2, 3, 4, 5, 6, 7, 8]),
    ],
)  # fmt: skip
def test_yes_deletes_all_but_what_the_policies_keep(
    run: Path, tool: Tool, words: tuple[object, ...], stay: list[int]
) -> None:
    assert tool("prune", run, "--yes", *words).code == 0
    assert left(run) == stay and tool("verify", run).code == 0
    assert planned(tool, run, *words)["bytes"] == 0


def test_pinned_checkpoints_stay(run: Path, tool: Tool) -> None:
    path_of(run, 4).with_suffix(".pin").touch()
    tool("prune", run, "--yes")
    assert left(run) == [3, 4, 7, 8]


def test_what_is_not_of_our_naming_stays(run: Path, tool: Tool) -> None:
    others = [run / "checkpoints" / name for name in ("mine.tar", "step_1.tar", "step_0000000004.tar.bak", "notes")]
    for path in others:
        shutil.copy(path_of(run, 1), path)
    assert tool("prune", run, "--yes").out.startswith(f"{run}: 5 deleted, 3 kept")
    assert all(path.exists() for path in others)


def flipped(path: Path) -> None:
    """Replace a file, whose other names stay whole, by a damaged copy."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    path.write_bytes(content)


def test_the_newest_valid_and_the_best_valid_checkpoint_stay_where_newer_and_better_ones_are_damaged(
    run: Path, tool: Tool
) -> None:
    for step, name in ((8, "last.tar"), (3, "best.tar")):
        (run / name).unlink()
        flipped(path_of(run, step))
    assert tool("prune", run, "--yes", "--keep-last", 1).code == 0
    assert {6, 7} <= set(left(run))


def test_a_run_without_a_valid_checkpoint_is_left_alone(run: Path, tool: Tool) -> None:
    for path in run.rglob("*.tar"):
        path.write_bytes(b"torn")
    outcome = tool("prune", run, "--yes")
    assert outcome.code == 2 and f"python -m runner verify {run}" in outcome.err and len(left(run)) == 8
    assert tool("verify", run).out.count("damaged ") + tool("verify", run).out.count("refused ") >= 10


def test_a_run_that_trains_is_never_touched(run: Path, tool: Tool) -> None:
    other = with_checkpoints(run.parent / "y", [0.1, 0.2, 0.3], best=3)
    with Ownership() as ownership:
        ownership.take(run)
        ownership.sign()
        outcome = tool("prune", run, "--yes")
        assert outcome.code == 2 and "is in use by process" in outcome.err
        told = tool("prune", run.parent, "--yes")
        assert told.code == 0 and f"{run} is left alone" in told.out
    assert len(left(run)) == 8 and left(other) == [2, 3]


def test_the_jobs_of_a_sweep_at_work_are_never_touched(run: Path, tool: Tool) -> None:
    (run.parent / "sweep.json").write_text("{}")
    with Ownership() as ownership:
        ownership.take(run.parent)
        assert tool("prune", run, "--yes").code == 2
    assert len(left(run)) == 8


def test_a_run_that_trains_on_another_host_is_never_touched(run: Path, tool: Tool) -> None:
    content = json.loads((run / "status.json").read_text()) | {"state": "running"}
    (run / "status.json").write_text(json.dumps(content))
    outcome = tool("prune", run, "--yes")
    assert outcome.code == 2 and "trains on elsewhere" in outcome.err and len(left(run)) == 8


def test_nothing_is_deleted_through_a_link(run: Path, tmp_path: Path, tool: Tool) -> None:
    elsewhere = tmp_path / "elsewhere"
    (run / "checkpoints").rename(elsewhere)
    (run / "checkpoints").symlink_to(elsewhere)
    assert tool("prune", run, "--yes").code == 2 and len(list(elsewhere.iterdir())) == 8


def test_what_a_rewind_has_set_aside_goes_only_if_asked(run: Path, tool: Tool) -> None:
    aside = run / "checkpoints/superseded"
    aside.mkdir()
    for name in ("step_0000000009.tar", "step_0000000009.2.tar", "best.tar", "mine.tar", "step_0000000010.tar"):
        shutil.copy(path_of(run, 1), aside / name)
    (aside / "step_0000000010.pin").touch()
    tool("prune", run, "--yes")
    assert len(list(aside.glob("*.tar"))) == 5
    tool("prune", run, "--yes", "--superseded")
    assert sorted(path.name for path in aside.glob("*.tar")) == ["mine.tar", "step_0000000010.tar"]


def test_sharded_checkpoints_go_as_a_whole(run: Path, tool: Tool) -> None:
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").mkdir()
    for name in ("last.tar", "best.tar"):
        (run / name).unlink()
    for step in (1, 2, 3):
        entries = entries_at(step, step / 10) | {"model_state_dict": {"weight": torch.ones(4, 4)}}
        write_sharded(path_of(run, step), entries, 10**9, Disk())
    (run / "last.tar").symlink_to("checkpoints/step_0000000003.tar")
    (run / "best.tar").symlink_to("checkpoints/step_0000000002.tar")
    assert planned(tool, run)["bytes"] > 0
    assert tool("prune", run, "--yes").code == 0
    assert left(run) == [2, 3] and tool("verify", run).code == 0
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == [path_of(run, n).name for n in (2, 3)]


def test_a_checkpoint_with_a_further_name_frees_no_space(run: Path, tmp_path: Path, tool: Tool) -> None:
    whole = planned(tool, run)["bytes"]
    os.link(path_of(run, 1), tmp_path / "mine.tar")
    assert planned(tool, run)["bytes"] == whole - path_of(run, 1).stat().st_blocks * 512


def test_a_run_whose_metric_is_unknown_is_left_alone(run: Path, tool: Tool) -> None:
    shutil.rmtree(run / "attempts")
    (run / "config.yaml").write_text("[")
    outcome = tool("prune", run, "--yes")
    assert outcome.code == 2 and "python -m runner verify" in outcome.err and len(left(run)) == 8


def test_a_pruned_run_resumes(work: Path, capsys: Any, tool: Tool) -> None:
    trained_in(work, *TINY, "epochs=2", "name=x")
    run = work / "outputs/x"
    step = max(left(run))
    assert len(left(run)) > 1 and tool("prune", "--yes", "--keep-last", 1).code == 0
    assert len(left(run)) <= 2
    assert cli(capsys, "resume=outputs/x", "epochs=3").code == 0
    status = read_status(run)
    assert status is not None and status.epoch == 3 and max(left(run)) > step


def test_deletion_that_the_disk_refuses_is_told_in_one_sentence(run: Path, tool: Tool) -> None:
    if os.geteuid() == 0:
        subprocess.run(["chattr", "+i", str(path_of(run, 1))], check=False, capture_output=True)
    else:
        (run / "checkpoints").chmod(0o500)
    try:
        outcome = tool("prune", run, "--yes")
        if outcome.code:
            assert outcome.code == 2 and "could not be deleted" in outcome.err and outcome.err.count("\n") == 1
        else:
            pytest.skip("this file system has no immutable files")
    finally:
        subprocess.run(["chattr", "-i", str(path_of(run, 1))], check=False, capture_output=True)
        (run / "checkpoints").chmod(0o700)
