"""Parameter groups of a config, as a user has them: seen at the start, resumed, and changed by a resume."""

import csv
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import TINY, cli
from tests.support.comparing import difference, entries_of

RULES = "optimizer.groups=[{match:'bias$',weight_decay:0.0},{match:'^layers.1',lr_scale:0.5}]"
FOURTH = "resume=outputs/x/checkpoints/step_0000000004.tar"
WORDS = (*TINY, "optimizer.weight_decay=0.1", "checkpoint=every_n_steps", "checkpoint.every_steps=1", "name=x")


def run(capsys: Any, *words: str) -> None:
    outcome = cli(capsys, *words)
    assert outcome.code == 0, outcome.err


def settings(path: Path) -> dict[str, tuple[float, float]]:
    """Return the base rate and the weight decay of each parameter in a checkpoint."""
    groups = entries_of(path)["optimizer_state_dict"]["param_groups"]
    return {name: (group["initial_lr"], group["weight_decay"]) for group in groups for name in group["param_names"]}


def moments(path: Path) -> dict[str, Any]:
    """Return the state of each parameter in a checkpoint, by its name."""
    state = entries_of(path)["optimizer_state_dict"]
    pairs = (zip(group["param_names"], group["params"], strict=True) for group in state["param_groups"])
    return {name: state["state"][number] for name, number in sorted(chain.from_iterable(pairs))}


def test_groups_are_told_trained_tracked_and_resumed_exactly(work: Path, capsys: Any) -> None:
    run(capsys, *WORDS, RULES)
    runs = work / "outputs"
    assert settings(runs / "x/last.tar") == {
        "layers.1.weight": (0.001, 0.1), "layers.1.bias": (0.001, 0.0),
        "layers.4.weight": (0.002, 0.1), "layers.4.bias": (0.002, 0.0),
    }  # fmt: skip
    log = (runs / "x/run.log").read_text()
    assert (
        "model: 4 groups of parameters" in log
        and "1 tensors, 8 numbers, lr=0.001, weight_decay=0: layers.1.bias" in log
    )
    with open(runs / "x/metrics.csv", newline="") as file:
        rates = [(float(row["lr"]), float(row["lr/1"])) for row in csv.DictReader(file)]
    assert all(other == one / 2 for one, other in rates) and len(set(rates)) > 2
    run(capsys, FOURTH, "name=y")
    assert difference(entries_of(runs / "y/last.tar"), entries_of(runs / "x/last.tar")) is None


def test_a_resume_rebuilds_the_groups_and_carries_the_moments_by_name(work: Path, capsys: Any) -> None:
    run(capsys, *WORDS, RULES)
    run(capsys, FOURTH, "name=y", "optimizer.groups=[]", "optimizer.no_decay=norm_and_bias", "max_steps=5")
    runs = work / "outputs"
    assert {name: decay for name, (_, decay) in settings(runs / "y/last.tar").items()} == {
        "layers.1.weight": 0.1, "layers.1.bias": 0.0, "layers.4.weight": 0.1, "layers.4.bias": 0.0,
    }  # fmt: skip
    first = runs / "y/checkpoints/step_0000000004.tar"
    assert difference(moments(first), moments(runs / "x/checkpoints/step_0000000004.tar")) is None


@pytest.mark.parametrize(
    ("word", "said"),
    [
        (
            "optimizer.groups=[{match:'^stem',lr_scale:0.1}]",
            "groups[0].match=^stem matches no trained parameter",
        ),
        ("optimizer.groups=[{match:'bias$',weight_deca:0}]", "optimizer.groups[0].weight_deca is unknown"),
        ("optimizer.groups=[{match:bias,lr:-1}]", "groups[0]"),
        ("optimizer.groups=[{match:bias,weight_decay:abc}]", "groups[0]"),
        ("optimizer.groups=[{match:bias,betas:[0.9]}]", "groups[0]"),
        ("optimizer.groups=[{match:bias,params:3}]", "groups[0].params is unknown"),
        ("optimizer.groups=[{match:bias,lr_scale:-2}]", "groups[0].lr_scale=-2 is invalid"),
        ("optimizer.groups=[{match:bias,lr_scale:abc}]", "groups[0].lr_scale=abc is invalid"),
        ("optimizer.groups=[{match:^bias}]", "quote the texts in it, such as {match: '^norm'}"),
        ("optimizer.groups=[bias]", "optimizer.groups=bias is invalid"),
        ("optimizer.layer_decay=0.5 model.hidden=[]", "give it a method `depth_of(name)`"),
        ("optimizer.layer_decay=2", "optimizer.layer_decay=2.0 is invalid"),
        ("optimizer.no_decay=bias", "no_decay"),
    ],
)
def test_a_group_that_is_none_is_one_sentence_and_nothing_is_made(
    work: Path, capsys: Any, word: str, said: str
) -> None:
    outcome = cli(capsys, *WORDS, *word.split())
    assert outcome.code == 2 and said in outcome.err and not (work / "outputs").exists(), outcome.err
