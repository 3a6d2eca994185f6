"""What a resume changes of an optimizer: each group as the new config builds it, the moments of each parameter kept."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.command_line import TINY, Outcome, cli
from tests.support.comparing import assert_same_run, entries_of

pytestmark = pytest.mark.usefixtures("runs")

LAYERWISE = (
    *TINY, "model.hidden=[8,8]", "optimizer=own", "optimizer._target_=tests.own.optim.Layerwise", "+optimizer.lr=0.1",
    "+optimizer.decay=0.5", "+optimizer.weight_decay=0.1", "checkpoint.every_steps=1",
)  # fmt: skip
NONE = (*LAYERWISE, "scheduler=none")


def stopped(capsys: Any, monkeypatch: pytest.MonkeyPatch, *words: str) -> Path:
    """Return a run that was stopped after five steps."""
    monkeypatch.setenv("STOP_AT", "4")
    assert cli(capsys, *words, "name=x").code == 75
    monkeypatch.delenv("STOP_AT")
    return Path("outputs/x")


def settings(path: Path, key: str) -> dict[str, Any]:
    """Return a setting of each parameter, by its name."""
    groups = entries_of(path)["optimizer_state_dict"]["param_groups"]
    return {name: group[key] for group in groups for name in group["param_names"]}


def moments(path: Path) -> dict[str, torch.Tensor]:
    """Return the first moment of each parameter, by its name."""
    state = entries_of(path)["optimizer_state_dict"]
    numbers = {
        number: name for g in state["param_groups"] for name, number in zip(g["param_names"], g["params"], strict=True)
    }
    return {numbers[number]: one["exp_avg"] for number, one in state["state"].items()}


def changed(capsys: Any, *words: str) -> Outcome:
    """Go on with the run under changed words for no step at all, as a fork whose first checkpoint shows what holds."""
    return cli(capsys, "resume=outputs/x", *words, "name=y", "max_time=0.000001", "trust=[tests]")


def test_a_bare_resume_of_groups_of_ones_own_is_exact(runs: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli(capsys, *LAYERWISE, "name=whole").code == 0
    stopped(capsys, monkeypatch, *LAYERWISE)
    assert cli(capsys, "resume=outputs/x", "trust=[tests]").code == 0
    assert_same_run(runs / "whole", runs / "x")


def test_moments_of_a_fused_optimizer_go_on_unfused_and_back(
    runs: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stopped(capsys, monkeypatch, *TINY, "optimizer.fused=true", "scheduler=none")
    for fused, steps in (("false", 6), ("true", 7)):
        before = entries_of(run / "last.tar")["optimizer_state_dict"]["state"][0]
        outcome = cli(capsys, "resume=outputs/x", f"optimizer.fused={fused}", f"max_steps={steps}", "trust=[tests]")
        assert outcome.code == 0 and "optimizer.fused" in outcome.out, outcome.err + outcome.out
        after = entries_of(run / "last.tar")["optimizer_state_dict"]
        assert str(after["param_groups"][0]["fused"]).lower() == fused
        assert after["state"][0]["step"] == before["step"] + 1 == steps
        close = 0.9 * before["exp_avg"]
        assert after["state"][0]["exp_avg"].shape == close.shape and not torch.equal(
            after["state"][0]["exp_avg"], close
        )


@pytest.mark.parametrize("scheduler", ["none", "step", "plateau"])
def test_each_group_gets_what_the_new_config_makes_of_it(
    runs: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch, scheduler: str
) -> None:
    run = stopped(capsys, monkeypatch, *LAYERWISE, f"scheduler={scheduler}")
    before = settings(run / "last.tar", "lr")
    assert sorted(set(before.values())) == pytest.approx([0.025, 0.05, 0.1])
    assert changed(capsys, "optimizer.weight_decay=0.2").code == 75
    decays = settings(runs / "y/last.tar", "weight_decay")
    assert {name: value for name, value in decays.items() if value} == {
        name: 0.2 for name in decays if name.endswith("weight")
    }
    assert settings(runs / "y/last.tar", "lr") == before


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["none", "cosine", "plateau", "own"])
def test_a_changed_rate_keeps_the_proportions_of_the_layers(
    runs: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch, scheduler: str
) -> None:
    target = "scheduler._target_=torch.optim.lr_scheduler.ExponentialLR"
    own = ("scheduler.unit=step", target, "+scheduler.gamma=1.0") if scheduler == "own" else ()
    run = stopped(capsys, monkeypatch, *LAYERWISE, f"scheduler={scheduler}", *own)
    before = settings(run / "last.tar", "lr")
    outcome = changed(capsys, "optimizer.lr=0.2")
    assert outcome.code == 75 and "takes effect" in outcome.out, outcome.err
    after = settings(runs / "y/last.tar", "lr")
    assert {name: 2 * value for name, value in before.items()} == after and len(set(after.values())) == 3
    assert cli(capsys, "resume=outputs/y", "max_time=null", "trust=[tests]").code == 0
    last = settings(runs / "y/last.tar", "lr")
    layers = [last[name] for name in ("layers.1.weight", "layers.4.weight", "layers.7.weight")]
    assert layers[0] == pytest.approx(2 * layers[1]) == pytest.approx(4 * layers[2])


def test_another_key_of_the_constructor_regroups_and_the_moments_follow(
    runs: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stopped(capsys, monkeypatch, *LAYERWISE)
    outcome = changed(capsys, "optimizer.decay=1.0")
    assert outcome.code == 75, outcome.err
    groups = entries_of(runs / "y/last.tar")["optimizer_state_dict"]["param_groups"]
    assert len(groups) == 2 < len(entries_of(run / "last.tar")["optimizer_state_dict"]["param_groups"])
    rates = settings(runs / "y/last.tar", "lr")
    assert set(rates.values()) == {settings(run / "last.tar", "lr")["layers.1.weight"]}
    old, new = moments(run / "last.tar"), moments(runs / "y/last.tar")
    assert old.keys() == new.keys() and all(torch.equal(old[name], new[name]) for name in old)
    assert cli(capsys, "resume=outputs/y", "max_time=null", "trust=[tests]").code == 0


def test_groups_without_names_are_matched_by_what_builds_them(
    runs: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stopped(capsys, monkeypatch, *NONE, "+optimizer.bare=true")
    assert changed(capsys, "optimizer.decay=1.0", "optimizer.bare=false").code == 75
    before, after = (entries_of(p / "last.tar")["optimizer_state_dict"] for p in (run, runs / "y"))
    assert len(before["param_groups"]) == 6 and len(after["param_groups"]) == 2
    shapes = {name: value.shape for name, value in entries_of(run / "last.tar")["model_state_dict"].items()}
    assert all(moment.shape == shapes[name] for name, moment in moments(runs / "y/last.tar").items())
    assert cli(capsys, "resume=outputs/y", "max_time=null", "trust=[tests]").code == 0


@pytest.mark.parametrize(
    ("scheduler", "word", "said"),
    [
        (("scheduler=plateau",), "optimizer.decay=1.0", "Plateau only continues with those of the run"),
        (
            ("scheduler=own", "scheduler._target_=torch.optim.lr_scheduler.OneCycleLR", "scheduler.unit=step",
             "+scheduler.max_lr=0.1", "+scheduler.total_steps=99"),
            "optimizer.lr=0.5", "OneCycleLR sets them",
        ),
        (
            ("scheduler=own", "scheduler._target_=torch.optim.lr_scheduler.StepLR", "+scheduler.step_size=3"),
            "+scheduler.last_epoch=-1", "would not change StepLR",
        ),
    ],
)  # fmt: skip
def test_what_cannot_take_effect_is_refused_in_a_sentence(
    runs: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch, scheduler: tuple[str, ...], word: str, said: str
) -> None:
    stopped(capsys, monkeypatch, *LAYERWISE, *scheduler)
    outcome = changed(capsys, word)
    assert outcome.code == 2 and said in outcome.err and outcome.err.count("\n") == 1, outcome.err
    assert not (runs / "y").exists()


def test_a_changed_schedule_of_torchs_goes_on_with_its_new_course(
    runs: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = "scheduler._target_=torch.optim.lr_scheduler.OneCycleLR"
    words = ("scheduler=own", "scheduler.unit=step", target, "+scheduler.max_lr=0.1", "+scheduler.total_steps=99")
    stopped(capsys, monkeypatch, *LAYERWISE, *words)
    assert changed(capsys, "scheduler.max_lr=0.4", "scheduler.total_steps=50").code == 75
    entries = entries_of(runs / "y/last.tar")
    assert entries["scheduler_state_dict"]["total_steps"] == 50
    assert {group["max_lr"] for group in entries["optimizer_state_dict"]["param_groups"]} == {0.4}


def test_another_optimizer_begins_afresh_where_it_is_allowed(
    runs: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(capsys, monkeypatch, *TINY)
    refused = changed(capsys, "optimizer=sgd")
    assert refused.code == 2 and "resume_allow=[optimizer._target_]" in refused.err
    outcome = changed(capsys, "optimizer=sgd", "resume_allow=[optimizer._target_]")
    assert outcome.code == 75 and "starts afresh" in outcome.out, outcome.err + outcome.out
    state = entries_of(runs / "y/last.tar")["optimizer_state_dict"]
    assert state["state"] == {} and state["param_groups"][0]["initial_lr"] == 0.05
    assert cli(capsys, "resume=outputs/y", "max_time=null", "trust=[tests]").code == 0
    assert "momentum_buffer" in entries_of(runs / "y/last.tar")["optimizer_state_dict"]["state"][0]
