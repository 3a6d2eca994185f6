"""The config of a run is the base of all that comes after: as data, whatever today's files and options say."""

import json
import math
import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import runner
from runner.errors import CheckpointRefused
from runner.wiring.resume.stored_config import read_config
from tests.support.command_line import DATA, MLP, Outcome, cli
from tests.support.comparing import difference, entries_of

pytestmark = pytest.mark.usefixtures("runs")

RUN = (*DATA, "tracker=csv", "max_steps=2", "checkpoint.every_steps=1")
SMALL = (*RUN, *MLP)


def option(path: str, text: str) -> None:
    """Write a file of one's own config folder."""
    file = Path("mine", path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def config_of(run: Path) -> dict[str, Any]:
    """Return the config in a run's last checkpoint."""
    values = yaml.safe_load(entries_of(run / "last.tar")["config"])
    assert isinstance(values, dict)
    return values


def with_config(source: Path, target: Path, **changes: Any) -> Path:
    """Write a copy of a checkpoint with some of its config's keys at the root replaced."""
    entries = entries_of(source)
    config = {**yaml.safe_load(entries["config"]), **changes}
    torch.save({**entries, "config": yaml.safe_dump(config, sort_keys=False)}, target)
    return target


def succeed(capsys: Any, *words: str) -> Outcome:
    outcome = cli(capsys, *words)
    assert outcome.code == 0, outcome.err + outcome.out
    return outcome


def is_used_bare(capsys: Any, run: Path) -> None:
    """Assert that a run's file is evaluated, predicted with, loaded and resumed by nothing but its name."""
    succeed(capsys, "task=evaluate", f"checkpoint_path={run}/last.tar")
    succeed(capsys, "task=predict", f"checkpoint_path={run}/last.tar", f"output={run.name}.csv")
    assert isinstance(runner.load(run / "last.tar"), torch.nn.Module)
    before = config_of(run)
    outcome = succeed(capsys, f"resume={run}", "max_steps=3")
    assert "max_steps | 2" in outcome.out and outcome.out.count(" | ") == 2 * 3, outcome.out  # one change, no other
    assert config_of(run) == {**before, "max_steps": 3, "resume": str(run)}


def test_a_value_beneath_an_overlays_option_needs_no_config_folder_again(runs: Path, capsys: Any) -> None:
    option("model/wide.yaml", "_target_: runner.models.Mlp\nhidden: [7]\n")
    option("experiment/e.yaml", "# @package _global_\ndefaults:\n  - override /model: wide\n")
    succeed(capsys, "--config-dir=mine", *RUN, "experiment=e", "model.hidden=[6]", "name=x")
    is_used_bare(capsys, runs / "x")
    assert entries_of(runs / "x/last.tar")["model_state_dict"]["layers.1.weight"].shape == (6, 4)


def test_a_way_from_group_to_group_is_stored_as_what_it_leads_to(runs: Path, capsys: Any) -> None:
    option(
        "model/block.yaml",
        "_target_: runner.models.Mlp\nhidden: ${data.shape}\ndropout: ${..learner.label_smoothing}\n",
    )
    succeed(capsys, "--config-dir=mine", *RUN, "model=block", "learner.label_smoothing=0.25", "name=x")
    assert config_of(runs / "x")["model"] == {"_target_": "runner.models.Mlp", "hidden": [4], "dropout": 0.25}
    is_used_bare(capsys, runs / "x")


def test_mappings_lists_and_what_was_deleted_stay(runs: Path, capsys: Any) -> None:
    values = "+data.more={a: {b: 1}, c: [1,{d: 2}]}"
    words = (
        *SMALL[:-2], "data=own", "data._target_=tests.own.points.Mapped", "model=mlp", "model.hidden=[5]", "~scheduler",
    )  # fmt: skip
    words = tuple(word for word in words if word.split(".")[0] != "data" or word.startswith("data._target_"))
    succeed(capsys, *words, values, "name=x", "trust=[tests]")
    config = config_of(runs / "x")
    assert config["data"]["more"] == {"a": {"b": 1}, "c": [1, {"d": 2}]} and config["scheduler"] == {}
    succeed(capsys, "resume=outputs/x", "max_steps=3", "trust=[tests]")
    assert {key: config_of(runs / "x")[key] for key in ("data", "scheduler")} == {
        key: config[key] for key in ("data", "scheduler")
    }


def test_warm_start_parts_of_an_experiment_are_kept(runs: Path, capsys: Any) -> None:
    succeed(capsys, *SMALL, "name=first")
    option(
        "experiment/e.yaml",
        "# @package _global_\nwarm_start:\n  path: outputs/first/best.tar\n  parts: {model: model}\n",
    )
    succeed(capsys, "--config-dir=mine", *SMALL, "experiment=e", "name=x")
    is_used_bare(capsys, runs / "x")
    assert config_of(runs / "x")["warm_start"]["parts"] == {"model": "model"}


def test_what_todays_overrides_name_goes_through_todays_files(runs: Path, capsys: Any) -> None:
    succeed(capsys, *SMALL, "optimizer.weight_decay=0.5", "name=x")
    option("experiment/e.yaml", "# @package _global_\ndefaults:\n  - override /optimizer: adamw\nmax_steps: 20\n")
    words = ("experiment=e", "optimizer.lr=0.125", "max_steps=3")
    outcome = succeed(capsys, "--config-dir=mine", "resume=outputs/x", *words, "name=y")
    config = config_of(runs / "y")
    assert config["optimizer"] == {
        "_target_": "torch.optim.AdamW", "lr": 0.125, "betas": [0.9, 0.999], "weight_decay": 0.01,
        "foreach": None, "fused": None, "groups": [], "no_decay": None,
        "layer_decay": None, "freeze": [], "unfreeze_at": None,
    }  # fmt: skip
    assert config["max_steps"] == 3 and config["model"]["hidden"] == [5], outcome.out


def test_a_value_of_an_overlay_counts_where_it_is_todays_default(runs: Path, capsys: Any) -> None:
    succeed(capsys, *SMALL, "log_every=7", "name=x")
    option("experiment/e.yaml", "# @package _global_\nlog_every: 50\n")
    outcome = succeed(capsys, "--config-dir=mine", "resume=outputs/x", "experiment=e", "max_steps=3")
    assert "log_every | 7   | 50" in outcome.out
    outcome = cli(capsys, "resume=outputs/x", "max_steps=4", "model=lenet")
    assert outcome.code == 2 and "model" in outcome.err and "cannot become" in outcome.err


def test_an_unknown_key_is_answered_as_ever(runs: Path, capsys: Any) -> None:
    succeed(capsys, *SMALL, "name=x")
    for word, said in (
        ("optimizer.lrr=1", "lrr"),
        ("epoch=3", "epochs"),
        ("optimizer=sdg", "sdg"),
        ("+nokey=1", "nokey"),
    ):
        outcome = cli(capsys, "resume=outputs/x", word)
        assert outcome.code == 2 and said in outcome.err and "Traceback" not in outcome.err, outcome.err


def test_a_default_that_has_changed_since_changes_no_run(
    runs: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    succeed(capsys, *SMALL, "name=x")
    old = with_config(runs / "x/checkpoints/step_0000000001.tar", Path("old.tar"), seed=5, clip_norm=0.5)
    entries = entries_of(old)
    config = yaml.safe_load(entries["config"])
    config["optimizer"] = {"_target_": "torch.optim.AdamW", "lr": 0.002}  # of an option without the other keys
    del config["early_stopping"], config["log_every"], config["device"]["compile"]  # not yet thought of
    torch.save({**entries, "config": yaml.safe_dump(config)}, old)
    outcome = succeed(capsys, "resume=old.tar", "name=y")
    now = config_of(runs / "y")
    assert " | " not in outcome.out, outcome.out
    assert (now["seed"], now["clip_norm"], now["log_every"], now["early_stopping"]["patience"]) == (5, 0.5, 50, None)
    assert now["optimizer"] == config["optimizer"] and now["device"]["compile"] is False


def test_stored_overrides_are_never_read(runs: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    succeed(capsys, *SMALL, "name=x")
    words = ["data=arrays", r"data.path=/x/$\{oc.env:SECRET\}.npz", "seed=9", "model.hidden=[9]"]
    path = Path("old.tar")
    torch.save({**entries_of(runs / "x/last.tar"), "overrides": words}, path)
    for command in (("resume=old.tar", "name=y", "max_steps=3"), ("task=evaluate", "checkpoint_path=old.tar")):
        outcome = succeed(capsys, *command)
        assert "hunter2" not in outcome.out + outcome.err
    assert config_of(runs / "y")["seed"] == 0


ESCAPED = (
    "/x/${oc.env:SECRET}.npz", r"/x/$\{oc.env:SECRET\}.npz", r"/x/\${oc.env:SECRET}.npz", r"/x/\\${oc.env:SECRET}.npz",
    "/x/$${oc.env:SECRET}.npz", "${oc.${other}:SECRET}", "${${other}:SECRET}", "${oc.decode:'${oc.env:SECRET}'}",
    "/x/${ oc.env : SECRET }", "$\\{oc.env:SECRET}", "${oc.select:a,${oc.env:SECRET}}",
)  # fmt: skip


@pytest.mark.parametrize("text", ESCAPED)
def test_no_form_of_an_interpolation_out_of_a_file_is_resolved(
    runs: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    if not (runs / "x").exists():
        succeed(capsys, *SMALL, "name=x")
    data = {"_target_": "runner.data.Arrays", "path": text, "workers": 0, "timeout": 300, "split": None}
    path = with_config(runs / "x/last.tar", Path("evil.tar"), data=data)
    for command in (("resume=evil.tar", "name=y", "max_steps=3"), ("task=evaluate", "checkpoint_path=evil.tar")):
        outcome = cli(capsys, *command)
        assert outcome.code == 2 and "hunter2" not in outcome.out + outcome.err and outcome.err.count("\n") == 1
        assert ("data.path" in outcome.err and "set data.path= yourself" in outcome.err) == ("${" in text)
    entries = entries_of(runs / "x/last.tar")
    assert path.exists() and not (runs / "y").exists() and "hunter2" not in str(entries["config"])


def test_an_environment_variable_is_left_out_of_the_file_and_asked_for_again(
    runs: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMOOTH", "0.25")
    option("model/dropping.yaml", "_target_: runner.models.Mlp\nhidden: [5]\ndropout: ${learner.label_smoothing}\n")
    words = (*RUN, "model=dropping", "learner.label_smoothing='${oc.decode:${oc.env:SMOOTH}}'", "name=x")
    outcome = succeed(capsys, "--config-dir=mine", *words)
    assert "0.25" not in entries_of(runs / "x/last.tar")["config"]
    (line,) = [line for line in outcome.out.splitlines() if "must repeat: " in line]
    again = ['learner.label_smoothing="${oc.decode:${oc.env:SMOOTH}}"', "model.dropout=${learner.label_smoothing}"]
    assert set(shlex.split(line.partition("repeat: ")[2])) == set(again)
    for some in ([], again[:1], again[1:]):
        refused = cli(capsys, "resume=outputs/x", "max_steps=3", *some)
        assert refused.code == 2 and "yourself" in refused.err and refused.err.count("\n") == 1
    outcome = succeed(capsys, "resume=outputs/x", "max_steps=3", *again)
    assert "dropout" not in outcome.out.split("must repeat")[0]
    monkeypatch.setenv("SMOOTH", "0.5")
    assert cli(capsys, "resume=outputs/x", "max_steps=4", *again).code in (0, 2)


def test_a_file_of_version_1_that_interpolates_between_keys_goes_on(runs: Path, capsys: Any) -> None:
    succeed(capsys, *SMALL, "name=x")
    old = with_config(
        runs / "x/checkpoints/step_0000000001.tar",
        Path("old.tar"),
        log_every="${max_steps}",
        model={
            "_target_": "runner.models.Mlp",
            "hidden": ["${data.workers}5"],
            "dropout": "${learner.label_smoothing}",
        },
    )
    torch.save({**entries_of(old), "version": 1, "overrides": ["model=nonsense"]}, old)
    succeed(capsys, "resume=old.tar", "name=y")
    assert config_of(runs / "y")["log_every"] == 2
    assert config_of(runs / "y")["model"] == {"_target_": "runner.models.Mlp", "hidden": [5], "dropout": 0.0}
    assert difference(entries_of(runs / "x/last.tar"), entries_of(runs / "y/last.tar")) is None


@pytest.mark.parametrize(
    ("config", "values"),
    [
        ({"a": "${b}", "b": "${c.d}", "c": {"d": 3}}, {"a": 3, "b": 3}),
        ({"a": "x${b}y${c}", "b": 1, "c": None}, {"a": "x1yNone"}),
        ({"a": {"b": "${.c}", "c": "${..d}"}, "d": [1]}, {"a": {"b": [1], "c": [1]}}),
        ({"a": "${b[1].c}", "b": [0, {"c": 5}]}, {"a": 5}),
        ({"a": "${b.${c}}", "b": {"x": 2}, "c": "x"}, {"a": 2}),
        ({"a": "${b.c}", "b": "${d}", "d": {"c": 4}}, {"a": 4, "b": {"c": 4}}),
        ({"a": "${a}", "b": "${c}", "c": "${b}"}, {"a": "${a}", "b": "${c}"}),
        ({"a": "${nothing}", "b": "${oc.env:HOME}", "c": "${b}"}, {"a": "${nothing}", "c": "${b}"}),
        ({"a": "${b}", "b": "???"}, {"a": "${b}"}),
        ({"a": r"\${b}", "b": 1}, {"a": r"\${b}"}),
    ],
)
def test_ways_between_keys_are_followed_as_data(config: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    found = read_config(yaml.safe_dump(dict(config)), Path("x.tar"))
    assert {key: found[key] for key in values} == values


def doubling(count: int, joined: str) -> dict[str, str]:
    """Return texts of which each holds the next one twice."""
    return {f"k{i}": joined.format(f"${{k{i + 1}}}") for i in range(count)} | {f"k{count}": "x" * 1000}


@pytest.mark.parametrize(
    "config",
    [
        {"a": [1] * 300_000},
        {"a": "[" * 100_000},
        {"a": {str(i): {} for i in range(100_000)}},
        {"a": "${b}" * 100_000, "b": "x" * 400_000},
        doubling(29, "{0}{0}"),
        {f"k{i}": [f"${{k{i + 1}}}"] * 2 for i in range(28)} | {"k28": 1},
    ],
    ids=["long list", "long text", "mapping", "long texts", "doubling texts", "doubling lists"],
)
def test_a_large_config_of_a_file_is_answered_soon(config: Mapping[str, Any]) -> None:
    text = yaml.dump(dict(config), Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), default_flow_style=True)
    began = time.process_time()
    try:
        read_config(text, Path("x.tar"))
    except CheckpointRefused as error:
        assert "too" in str(error) or "more than" in str(error)
    assert time.process_time() - began < 5


def test_a_deep_config_is_refused(tmp_path: Path) -> None:
    for depth in (40, 100_000):
        with pytest.raises(CheckpointRefused, match="its config is"):
            read_config("a: " + "[" * depth + "]" * depth, tmp_path)


def test_a_config_that_no_checkpoint_takes_is_refused_before_the_first_step(
    runs: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.wiring.config.settled.MOST_VALUES", 300)
    numbers = ",".join(map(str, range(301)))
    words = ("data=own", "data._target_=tests.own.points.Mapped", f"+data.more=[{numbers}]", "model=mlp", "max_steps=1")
    outcome = cli(capsys, *words, "name=x")
    assert outcome.code == 2 and "keep long lists in a file" in outcome.err and not runs.exists()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": 5}, "model in its config is not a mapping"),
        ({"optimizer": {}}, "optimizer._target_"),
        ({"epochs": "many"}, "epochs"),
        ({"nonsense": 1}, "'nonsense'"),
        ({"checkpoint": ["a"]}, "checkpoint"),
        ({"model": {1: 2}}, "model"),
        ({"seed": -1}, "seed"),
        ({"data": {"_target_": ["x"]}}, "data"),
        (
            {"model": {"_target_": "runner.models.Mlp", "hidden": [4], "dropout": math.nan}},
            "dropout=nan; use widths",
        ),
        ({"debug": {"x y": "${oc.env:HOME}"}}, "debug in its config has a key that cannot be set"),
        ({"optimizer": {"": "${oc.env:HOME}"}}, "optimizer in its config has a key that cannot be set"),
    ],
    ids=str,
)
def test_a_files_config_of_other_types_is_one_sentence(
    runs: Path, capsys: Any, changes: Mapping[str, Any], says: str
) -> None:
    succeed(capsys, *SMALL, "name=x")
    path = with_config(runs / "x/last.tar", Path("evil.tar"), **changes)
    commands = ((f"resume={path}", "name=y", "max_steps=3"), ("task=evaluate", f"checkpoint_path={path}"))
    for command in commands[:1] if "optimizer" in changes else commands:
        outcome = cli(capsys, *command)
        assert outcome.code == 2 and says in outcome.err, outcome.err
        assert outcome.err.count("\n") == 1 and "Traceback" not in outcome.err, outcome.err
    assert json.dumps(sorted(path.name for path in runs.iterdir())) == '["x"]'


def test_the_keys_of_one_attempt_never_come_from_a_file(runs: Path, capsys: Any) -> None:
    succeed(capsys, *SMALL, "name=whole")
    changes = {
        "name": "../z",
        "resume": "no.tar",
        "rewind": True,
        "task": "predict",
        "output": "o.csv",
        "trust": ["os"],
    }
    path = with_config(runs / "whole/checkpoints/step_0000000001.tar", Path("evil.tar"), **changes)
    succeed(capsys, f"resume={path}", "name=y")
    assert difference(entries_of(runs / "whole/last.tar"), entries_of(runs / "y/last.tar")) is None
    config = config_of(runs / "y")
    assert (config["name"], config["rewind"], config["task"], config["trust"]) == ("y", False, "train", [])
