"""`python -m runner compare`: runs side by side."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from runner.checkpoint.difference import distance
from tests.support.checkpoints import small_entries, write_entries
from tests.support.command_line import Outcome
from tests.support.run_directories import write_environment, write_run

Tool = Callable[..., Outcome]


def compared(tool: Tool, *words: object) -> Any:
    outcome = tool("compare", *words, "--json")
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two runs of other rates and seeds, whose weights are 3 and 4 apart in two elements."""
    one = write_run(tmp_path / "a", rate=0.1, seed=1, accuracies=[0.5, 0.9, 0.7])
    other = write_run(tmp_path / "b", rate=0.01, seed=2, accuracies=[0.6], state="failed", reason="it broke")
    for run, step, values in ((one, 2, [0.0, 1.0, 0.0]), (other, 1, [3.0, 1.0, 4.0])):
        weights = {"weight": torch.tensor(values), "count": torch.tensor(step)}
        held = small_entries(model_state_dict=weights, global_step=step, metrics={"val/accuracy": 0.9})
        for name in ("last.tar", "best.tar"):
            with open(run / name, "wb") as file:
                write_entries(file, held)
    return one, other


def test_only_settings_that_differ_are_told_and_the_name_is_none(pair: tuple[Path, Path], tool: Tool) -> None:
    found = compared(tool, *pair)
    assert found["settings"] == {"seed": [1, 2], "optimizer.lr": [0.1, 0.01]} and found["equal_settings"] == 6


def test_each_metric_is_told_last_and_at_the_best_checkpoint(pair: tuple[Path, Path], tool: Tool) -> None:
    found = compared(tool, *pair)
    assert found["last"]["val/accuracy"] == [0.7, 0.6] and found["last"]["test/accuracy"] == [0.625, None]
    assert found["best"] == {"train/loss": [0.5, 1.0], "val/accuracy": [0.9, 0.9]}


def test_facts_of_the_runs_are_told(pair: tuple[Path, Path], tool: Tool) -> None:
    facts = compared(tool, *pair)["facts"]
    assert facts["state"] == ["finished", "failed"] and facts["reason"] == [None, "it broke"]
    assert facts["steps"] == [3, 1] and facts["best step"] == [2, 1] and facts["seconds of training"] == [3.5, 1.5]


def test_of_the_environment_only_differences_are_told_and_of_a_patch_its_size(
    pair: tuple[Path, Path], tool: Tool
) -> None:
    for run, version, patch in zip(pair, ("2.12", "2.13"), ("+a\n+b\n", ""), strict=True):
        write_environment(run, versions={"torch": version, "numpy": "2"}, git_diff=patch, command=f"run.py {run}")
    found = compared(tool, *pair)["environment"]
    assert found["versions.torch"] == ["2.12", "2.13"] and found.keys() == {"versions.torch", "git_diff"}
    assert found["git_diff"][0].startswith("2 lines (") and found["git_diff"][1] == "none"


def test_weights_are_measured_from_the_first_run(pair: tuple[Path, Path], tool: Tool) -> None:
    [found] = compared(tool, *pair, "--weights")["weights"]
    far = found["models"]["model"]
    assert far["absolute"] == 5 and far["relative"] == 5 and far["cosine"] == pytest.approx(1 / math.sqrt(26))
    assert (far["tensors"], far["differing"], far["others"]) == (2, 2, 0) and far["farthest"] == [["weight", 5]]
    assert "distance 5 (5 of the first's norm)" in tool("compare", *pair, "--weights").out


def test_three_runs_stand_beside_each_other_as_a_table(pair: tuple[Path, Path], tmp_path: Path, tool: Tool) -> None:
    third = write_run(tmp_path / "c\x1b", model="runner.models.Mlp")
    outcome = tool("compare", *pair, third)
    head, *lines = outcome.out.splitlines()
    assert head.split() == ["setting", *map(str, pair), str(third).replace("\x1b", "\\x1b")]
    assert any(line.split() == ["optimizer.lr", "0.1", "0.01", "0.1"] for line in lines) and "\x1b" not in outcome.out


def test_a_run_does_not_differ_from_itself(pair: tuple[Path, Path], tool: Tool) -> None:
    found = compared(tool, pair[0], pair[0], "--weights")
    assert found["settings"] == found["environment"] == {} and found["weights"][0]["models"]["model"]["differing"] == 0
    assert tool("compare", pair[0], pair[0]).out.startswith("no setting differs; 8 settings are equal")


def test_what_is_no_run_is_answered_with_the_tool_that_takes_it(pair: tuple[Path, Path], tool: Tool) -> None:
    for words, way_out in (
        (pair[:1], "name two or more"),
        ((pair[0], pair[0].parent), "python -m runner list"),
        ((pair[0], pair[1] / "last.tar"), "python -m runner diff"),
    ):
        outcome = tool("compare", *words)
        assert outcome.code == 2 and way_out in outcome.err and outcome.err.count("\n") == 1


def test_a_distance_leaves_out_what_is_not_in_both_and_counts_it() -> None:
    one = {"a": torch.ones(2), "b": torch.ones(2), "extra": 3, "n": torch.tensor(1)}
    far = distance(one, {"a": torch.zeros(2), "b": torch.ones(3), "d": torch.ones(1), "n": torch.tensor(1)})
    assert (far.tensors, far.differing, far.others) == (2, 1, 2) and far.absolute == pytest.approx(math.sqrt(2))
    assert far.cosine is None and distance({}, {}).relative is None
