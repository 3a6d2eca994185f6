"""Fork, rewind, adoption and trust: each start says what it is, and a file speaks only for its state."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import runner
from runner.models import Mlp
from tests.support import REPOSITORY
from tests.support.checkpoints import tutorial_file
from tests.support.command_line import SMALL, TINY, cli
from tests.support.comparing import assert_same_run, difference, entries_of, rows_of

PLAIN = (*SMALL, "tracker=csv")


@pytest.fixture
def whole(runs: Path, capsys: Any) -> Path:
    """A finished run of nine steps with all its checkpoints."""
    assert cli(capsys, *TINY, "name=whole", "checkpoint.every_steps=1").code == 0
    return runs / "whole"


def with_changes(source: Path, target: Path, **changes: Any) -> Path:
    """Write a copy of a checkpoint with some entries replaced."""
    torch.save({**entries_of(source), **changes}, target)
    return target


def test_a_fork_begins_with_the_whole_state_and_records_its_parent(whole: Path, runs: Path, capsys: Any) -> None:
    parent = whole / "checkpoints/step_0000000004.tar"
    before = parent.read_bytes()
    outcome = cli(capsys, f"resume={parent}", "name=fork")
    assert outcome.code == 0 and f"as a fork of {parent}" in outcome.out
    assert difference(entries_of(whole / "last.tar"), entries_of(runs / "fork/last.tar")) is None
    assert rows_of(runs / "fork") == [row for row in rows_of(whole) if int(row["step"]) > 4]
    assert json.loads((runs / "fork/parent.json").read_text())["checkpoint"] == str(parent)
    assert parent.read_bytes() == before and len(list((whole / "checkpoints").glob("*.tar"))) == 9


def test_a_fork_that_is_stopped_at_once_goes_on_as_what_it_is(
    whole: Path, runs: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOP_AT", "4")
    parent = whole / "checkpoints/step_0000000004.tar"
    assert cli(capsys, f"resume={parent}", "name=fork", "clip_norm=0.1").code == 75
    monkeypatch.delenv("STOP_AT")
    assert cli(capsys, "resume=outputs/fork").code == 0
    assert "clip_norm: 0.1" in entries_of(runs / "fork/last.tar")["config"]


def test_a_fork_needs_a_free_name(whole: Path, runs: Path, capsys: Any) -> None:
    (runs / "other").mkdir()
    (runs / "other/notes.txt").write_text("mine")
    outcome = cli(capsys, f"resume={whole}/last.tar", "name=other")
    assert outcome.code == 2 and "exists already" in outcome.err
    assert [path.name for path in (runs / "other").iterdir()] == ["notes.txt"]


def test_an_older_checkpoint_needs_to_be_forked_or_rewound(whole: Path, capsys: Any) -> None:
    path = whole / "checkpoints/step_0000000006.tar"
    outcome = cli(capsys, f"resume={path}")
    assert outcome.code == 2
    assert all(word in outcome.err for word in ("step 6", "step 9", "rewind=true", "name=another_name"))


def test_rewinding_sets_the_newer_ones_aside_and_arrives_at_the_same_bits(whole: Path, runs: Path, capsys: Any) -> None:
    assert cli(capsys, *TINY, "name=copy", "checkpoint.every_steps=1").code == 0
    assert cli(capsys, f"resume={whole}/checkpoints/step_0000000006.tar", "rewind=true").code == 0
    assert_same_run(whole, runs / "copy")
    superseded = sorted(path.name for path in (whole / "checkpoints/superseded").iterdir())
    assert superseded == [f"step_{step:010d}.tar" for step in (7, 8, 9)]


def test_a_file_outside_a_run_directory_needs_a_name(whole: Path, runs: Path, capsys: Any) -> None:
    moved = runs.parent / "moved.tar"
    (whole / "checkpoints/step_0000000004.tar").rename(moved)
    outcome = cli(capsys, f"resume={moved}")
    assert outcome.code == 2 and "add name=" in outcome.err
    assert cli(capsys, f"resume={moved}", "name=again").code == 0
    assert rows_of(runs / "again") == [row for row in rows_of(whole) if int(row["step"]) > 4]


def test_a_tutorials_general_checkpoint_is_adopted_at_the_end_of_its_epoch(runs: Path, capsys: Any) -> None:
    path, model = tutorial_file(runs.parent / "theirs.tar")
    outcome = cli(capsys, *PLAIN, f"resume={path}", "name=x", "epochs=3", "scheduler=none", "checkpoint.keep_last=9")
    assert outcome.code == 0, outcome.err
    assert "lacks data, progress, rng, scaler" in outcome.out + outcome.err
    first = entries_of(runs / "x/checkpoints/step_0000000004.tar")
    assert (first["epoch"], first["global_step"]) == (2, 4)
    assert all(torch.equal(first["model_state_dict"][name], value) for name, value in model.state_dict().items())
    assert first["optimizer_state_dict"]["param_groups"][0]["lr"] == 0.03
    assert entries_of(runs / "x/last.tar")["global_step"] == 6
    assert cli(capsys, "resume=outputs/x", "epochs=4").code == 0


@pytest.mark.parametrize(
    ("words", "changes", "says"),
    [
        ((), {}, "add name="),
        (("name=x", "epochs=2"), {}, "raise epochs"),
        (("name=x", "model.hidden=[6]"), {}, "does not fit"),
        (("name=x", "optimizer=sgd"), {}, "another kind of optimizer"),
        (("name=x",), {"epoch": "2"}, "not an integer >= 0"),
        (("name=x",), {"model_state_dict": [1]}, "is a list"),
        (("name=x",), {"optimizer_state_dict": {}}, "does not fit"),
    ],
)
def test_what_cannot_be_adopted_is_refused_and_nothing_made(
    runs: Path, capsys: Any, words: tuple[str, ...], changes: Mapping[str, Any], says: str
) -> None:
    path, _ = tutorial_file(runs.parent / "theirs.tar", **changes)
    outcome = cli(capsys, *PLAIN, f"resume={path}", *words)
    assert outcome.code == 2 and says in outcome.err and not runs.exists(), outcome.err


def test_a_bare_state_dict_is_pointed_to_a_warm_start(runs: Path, capsys: Any) -> None:
    torch.save(Mlp(4, 3).state_dict(), "bare.pth")
    outcome = cli(capsys, *PLAIN, "resume=bare.pth", "name=x")
    assert outcome.code == 2 and "warm_start.path=bare.pth" in outcome.err


def test_warm_start_is_ignored_by_auto_and_refused_by_a_resume(runs: Path, capsys: Any) -> None:
    torch.save(Mlp(4, 3, hidden=[5]).state_dict(), "bare.pth")
    words = (*PLAIN, "name=x", "warm_start.path=bare.pth", "resume=auto")
    assert cli(capsys, *words, "max_steps=1").code == 0
    Path("bare.pth").unlink()
    assert cli(capsys, *words, "max_steps=3").code == 0
    outcome = cli(capsys, "resume=outputs/x", "warm_start.path=other.pth", "max_steps=4")
    assert outcome.code == 2 and "is for a new run" in outcome.err


@pytest.mark.slow
def test_a_moving_average_is_evaluated_stored_and_resumed_exactly(
    runs: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*TINY, "ema.decay=0.7")
    assert cli(capsys, *words, "name=whole").code == 0
    for stop in (2, 5):
        monkeypatch.setenv("STOP_AT", str(stop))
        assert cli(capsys, *words, "name=x", "resume=auto").code == 75
    monkeypatch.delenv("STOP_AT")
    assert cli(capsys, *words, "name=x", "resume=auto").code == 0
    assert_same_run(runs / "whole", runs / "x")
    entries = entries_of(runs / "x/best.tar")
    raw, average = entries["model_state_dict"], entries["ema_state_dict"]
    assert list(raw) == list(average) and not torch.equal(raw["layers.1.weight"], average["layers.1.weight"])
    assert "ema_state_dict" in entries
    model = runner.load(str(runs / "x/best.tar"), trust=("tests",))
    assert all(torch.equal(model.state_dict()[name], value) for name, value in average.items())
    evaluated = cli(capsys, "task=evaluate", "checkpoint_path=outputs/x/best.tar", "data.split=val", "trust=[tests]")
    assert json.loads(evaluated.out.splitlines()[-1])["loss"] == entries["metrics"]["val/loss"]


@pytest.mark.slow
def test_a_moving_average_may_be_begun_and_given_up_by_a_resume(runs: Path, capsys: Any) -> None:
    assert cli(capsys, *PLAIN, "name=x", "epochs=1").code == 0
    assert cli(capsys, "resume=outputs/x", "epochs=2", "ema.decay=0.9").code == 0
    assert "ema_state_dict" in entries_of(runs / "x/last.tar")
    assert cli(capsys, "resume=outputs/x", "epochs=3", "ema.decay=null").code == 0
    assert "ema_state_dict" not in entries_of(runs / "x/last.tar")


def test_a_changed_setting_survives_an_attempt_that_is_stopped_at_once(runs: Path, capsys: Any) -> None:
    assert cli(capsys, *PLAIN, "name=x", "epochs=1").code == 0
    assert cli(capsys, "resume=outputs/x", "epochs=3", "clip_norm=0.5", "max_time=0.00001").code == 75
    outcome = cli(capsys, "resume=outputs/x", "max_time=null")
    assert outcome.code == 0 and "attempts/0002.json" in outcome.out and "clip_norm | null | 0.5" in outcome.out
    last = entries_of(runs / "x/last.tar")
    assert last["epoch"] == 3 and "clip_norm: 0.5" in last["config"]


def test_another_monitor_resets_what_a_plateau_has_seen(runs: Path, capsys: Any) -> None:
    assert cli(capsys, *PLAIN, "name=x", "epochs=2", "scheduler=plateau").code == 0
    words = ("epochs=3", "checkpoint.monitor=val/accuracy", "checkpoint.mode=max")
    assert cli(capsys, "resume=outputs/x", *words).code == 0
    last = entries_of(runs / "x/last.tar")
    assert last["scheduler_state_dict"]["mode"] == "max"
    assert last["scheduler_state_dict"]["best"] == last["metrics"]["val/accuracy"]


def test_changed_settings_of_a_plateau_take_effect(runs: Path, capsys: Any) -> None:
    own = ("scheduler=own", "scheduler._target_=runner.optim.Plateau", "+scheduler.factor=0.5", "+scheduler.patience=2")
    assert cli(capsys, *PLAIN, "name=x", "epochs=2", *own).code == 0
    words = ("epochs=3", "scheduler.factor=0.25", "scheduler.patience=7", "+scheduler.min_lr=0.001")
    assert cli(capsys, "resume=outputs/x", *words).code == 0
    stored = entries_of(runs / "x/last.tar")["scheduler_state_dict"]
    assert (stored["factor"], stored["patience"], stored["min_lrs"]) == (0.25, 7, [0.001])


def test_another_batch_size_leaves_the_number_of_epochs(runs: Path, capsys: Any) -> None:
    assert cli(capsys, *PLAIN, "name=x", "epochs=2", "batch_size=8").code == 0
    steps = entries_of(runs / "x/last.tar")["global_step"]
    assert cli(capsys, "resume=outputs/x", "epochs=4", "batch_size=4", "resume_allow=[batch_size]").code == 0
    last = entries_of(runs / "x/last.tar")
    assert last["epoch"] == 4 and last["global_step"] == steps + 2 * (2 * steps // 2)


def test_a_loaded_model_needs_no_data_and_leaves_the_generators_alone(runs: Path, capsys: Any) -> None:
    assert cli(capsys, *PLAIN, "name=x", "epochs=1", "deterministic=true").code == 0
    torch.use_deterministic_algorithms(False)
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    entries = entries_of(runs / "x/best.tar")
    assert entries["environment"]["facts"]["num_classes"]
    assert isinstance(runner.load(str(runs / "x/best.tar")), torch.nn.Module)
    assert torch.equal(torch.rand(2), expected) and not torch.are_deterministic_algorithms_enabled()


HOSTILE = "seed: 0\nhydra:\n  job_logging:\n    formatters: {x: {(): os.system}}\n"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"config": HOSTILE}, "'hydra'"),
        ({"config": "hydra.job_logging.x: 1\n"}, "hydra.job_logging.x"),
        ({"config": "seed: ${oc.env:HOME}\n"}, "interpolation"),
        ({"config": "a: &a [1]\nb: [*a, *a]\n"}, "refers to itself"),
        ({"config": "[1, 2]\n"}, "config"),
    ],
)
def test_a_files_config_only_holds_values(whole: Path, capsys: Any, changes: Mapping[str, Any], says: str) -> None:
    path = with_changes(whole / "last.tar", whole.parent / "hostile.tar", **changes)
    for command in ((f"resume={path}", "name=x"), ("task=evaluate", f"checkpoint_path={path}", "data.split=val")):
        outcome = cli(capsys, *command)
        assert outcome.code == 2 and says in outcome.err and "Traceback" not in outcome.err, outcome.err
    assert not (whole.parent / "x").exists()


EVIL = """
import pathlib
pathlib.Path("executed").touch()
from torch import nn
class Net(nn.Module):
    pass
"""


def run(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Call this repository's run.py in a process of its own, with `folder` importable, not trusted."""
    paths = os.pathsep.join([str(folder / "site"), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, str(REPOSITORY / "run.py"), *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.slow
def test_a_file_cannot_trust_itself(runs: Path, capsys: Any) -> None:
    assert cli(capsys, *PLAIN, "name=x", "max_steps=1").code == 0
    site = runs.parent / "site"
    site.mkdir()
    (site / "evil.py").write_text(EVIL)
    config = entries_of(runs / "x/last.tar")["config"]
    for group in ("model", "optimizer", "scheduler"):
        target = {"model": "runner.models.Mlp", "optimizer": "torch.optim.AdamW", "scheduler": "runner.optim.Cosine"}
        path = with_changes(
            runs / "x/last.tar",
            runs.parent / "evil.tar",
            config=config.replace(target[group], "evil.Net"),
            overrides=["trust=[evil]", "+hydra.searchpath=[file:///tmp]"],  # of version 1; nobody reads it
        )
        outcome = run(runs.parent, f"resume={path}", "name=y", "max_steps=2")
        assert outcome.returncode == 2 and "trust=[evil]" in outcome.stderr, outcome.stderr
        assert not (runs.parent / "executed").exists() and not (runs / "y").exists()


NET = """
from torch import nn
class Net(nn.Module):
    def __init__(self, in_features, num_classes, width=3):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(in_features, width), nn.Linear(width, num_classes))
    def forward(self, inputs):
        return self.layers(inputs)
"""


@pytest.mark.slow
def test_a_package_of_ones_own_needs_one_word_which_the_first_start_shows(runs: Path) -> None:
    site = runs.parent / "site"
    site.mkdir()
    (site / "mine.py").write_text(NET)
    words = [*PLAIN[:-3], "tracker=none", "model=own", "model._target_=mine.Net", "+model.width=4", "name=x"]
    first = run(runs.parent, *words, "max_steps=1")
    assert first.returncode == 0 and "trust=[mine]" in first.stdout, first.stderr + first.stdout
    refused = run(runs.parent, "resume=outputs/x/last.tar", "max_steps=2")
    assert refused.returncode == 2 and "trust=[mine]" in refused.stderr
    assert run(runs.parent, "resume=outputs/x/last.tar", "max_steps=2", "trust=[mine]").returncode == 0
    assert run(runs.parent, "resume=outputs/x/last.tar", "max_steps=3", RUNNER_TRUST="mine").returncode == 0
    evaluated = run(runs.parent, "task=evaluate", "checkpoint_path=outputs/x/best.tar", "trust=[mine]")
    assert evaluated.returncode == 0 and json.loads(evaluated.stdout.splitlines()[-1])["split"] == "test"


@pytest.mark.slow
def test_a_config_folder_of_ones_own_serves_the_start_and_is_not_needed_to_go_on(runs: Path, capsys: Any) -> None:
    folder = runs.parent / "mine"
    (folder / "model").mkdir(parents=True)
    (folder / "model/small.yaml").write_text("_target_: runner.models.Mlp\nhidden: [4]\ndropout: 0.1\n")
    words = [*PLAIN[:-3], "tracker=none", "model=small", "model.hidden=[6]", "name=x", f"--config-dir={folder}"]
    assert cli(capsys, *words, "max_steps=1").code == 0
    assert cli(capsys, "resume=outputs/x", "max_steps=2").code == 0
    assert entries_of(runs / "x/last.tar")["model_state_dict"]["layers.1.weight"].shape == (6, 4)
    assert cli(capsys, "task=evaluate", "checkpoint_path=outputs/x/last.tar").code == 0
    refused = cli(capsys, "resume=outputs/x", "model.hidden=[7]")
    assert refused.code == 2 and "model.hidden is [6] in the run and cannot become [7]" in refused.err


@pytest.mark.slow
def test_momentum_and_centering_may_begin_with_a_resume(runs: Path, capsys: Any) -> None:
    assert cli(capsys, *PLAIN, "name=x", "epochs=1", "optimizer=rmsprop").code == 0
    outcome = cli(capsys, "resume=outputs/x", "epochs=2", "optimizer.momentum=0.9", "optimizer.centered=true")
    assert outcome.code == 0, outcome.err + outcome.out
    state = entries_of(runs / "x/last.tar")["optimizer_state_dict"]["state"][0]
    assert state["momentum_buffer"].any() and state["grad_avg"].any()


@pytest.mark.parametrize("words", [("scheduler=none",), ("scheduler=plateau",)], ids=["none", "plateau"])
def test_another_scheduler_begins_with_the_base_rate_that_the_former_one_had_used_up(
    runs: Path, capsys: Any, words: tuple[str, ...]
) -> None:
    assert cli(capsys, *PLAIN, "epochs=2", "scheduler=cosine", "name=x").code == 0
    outcome = cli(capsys, "resume=outputs/x", "epochs=3", *words)
    assert outcome.code == 0 and "(learning rate)" in outcome.out
    assert rows_of(runs / "x")[-1]["lr"] == rows_of(runs / "x")[0]["lr"] != "0.0"


def test_a_finished_run_without_a_checkpoint_is_not_begun_again(runs: Path, capsys: Any) -> None:
    assert cli(capsys, *PLAIN, "max_steps=1", "checkpoint=off", "name=x").code == 0
    outcome = cli(capsys, "resume=auto", *PLAIN, "name=x")
    assert outcome.code == 2 and "is finished and holds no checkpoint" in outcome.err


def test_an_adopted_file_is_not_mixed_with_a_warm_start(runs: Path, capsys: Any) -> None:
    path, _ = tutorial_file(runs.parent / "tutorial.tar")
    outcome = cli(capsys, f"resume={path}", *PLAIN, "name=x", f"warm_start.path={path}")
    assert outcome.code == 2 and "leave one of them out" in outcome.err and not runs.exists()
