"""Parameter groups by patterns, by kind and by depth."""

from typing import Any

import pytest
import torch
from torch import nn

from runner.errors import ConfigError
from runner.optim.groups import Rules, check_effects, grouped


class Deep(nn.Module):
    """Something before two numbered blocks, and something behind."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 4)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)) for _ in range(2))
        self.head = nn.Linear(4, 2)


def settings(model: nn.Module, rules: Rules, lr: float | None = 0.1) -> dict[str, dict[str, Any]]:
    """Return the settings of each parameter in an optimizer that is made of the groups."""
    named = list(model.named_parameters())
    optimizer = torch.optim.AdamW(grouped(model, named, rules, lr=lr, place="optimizer"), lr=0.1, weight_decay=0.5)
    found = {
        name: {"lr": group["lr"], "weight_decay": group["weight_decay"]}
        for group in optimizer.param_groups
        for name in group["param_names"]
    }
    assert found.keys() == {name for name, _ in named}
    return found


def test_without_rules_there_is_one_group_in_the_models_order() -> None:
    model = Deep()
    assert grouped(model, list(model.named_parameters()), Rules(), lr=None, place="optimizer") == list(
        model.named_parameters()
    )


def test_every_rule_that_fits_counts_and_a_later_one_wins() -> None:
    rules = Rules(
        groups=(
            {"match": r"bias$|\.1\.", "weight_decay": 0.0},
            {"match": "^blocks", "lr_scale": 0.5},
            {"match": r"^blocks\.1", "lr_scale": 0.5, "weight_decay": 0.25},
        )
    )
    found = settings(Deep(), rules)
    assert found["embed.weight"] == {"lr": 0.1, "weight_decay": 0.5}
    assert found["head.bias"] == {"lr": 0.1, "weight_decay": 0.0}
    assert found["blocks.0.0.weight"] == {"lr": 0.05, "weight_decay": 0.5}
    assert found["blocks.0.1.weight"] == {"lr": 0.05, "weight_decay": 0.0}
    assert found["blocks.1.0.bias"] == {"lr": 0.025, "weight_decay": 0.25}


def test_no_decay_is_of_biases_and_of_normalization_whatever_it_is_called() -> None:
    undecayed = {name for name, own in settings(Deep(), Rules(no_decay=True)).items() if own["weight_decay"] == 0}
    assert undecayed == {
        "blocks.0.0.bias", "blocks.0.1.weight", "blocks.0.1.bias", "blocks.1.0.bias", "blocks.1.1.weight",
        "blocks.1.1.bias", "head.bias",
    }  # fmt: skip


def test_layer_decay_goes_by_the_number_of_the_block() -> None:
    found = settings(Deep(), Rules(layer_decay=0.5))
    rates = {name: own["lr"] for name, own in found.items()}
    assert rates["head.weight"] == 0.1 and rates["blocks.1.0.weight"] == 0.05
    assert rates["blocks.0.1.bias"] == 0.025 and rates["embed.weight"] == 0.0125


def test_a_model_may_tell_its_depths_itself() -> None:
    class Told(Deep):
        def depth_of(self, name: str) -> int:
            return 3 if name.startswith("head") else 1

    rates = {name: own["lr"] for name, own in settings(Told(), Rules(layer_decay=0.5)).items()}
    assert rates["head.bias"] == 0.1 and rates["embed.weight"] == 0.025


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (Rules(groups=({"match": "(", "lr_scale": 0.1},)), "is not a regular expression"),
        (Rules(groups=({"lr_scale": 0.1},)), r"groups\[0\].match is missing"),
    ],
)
def test_a_rule_that_is_none_is_one_sentence(rules: Rules, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        settings(Deep(), rules)


def test_what_needs_a_rate_says_so() -> None:
    flat = nn.Linear(2, 2)
    with pytest.raises(ConfigError, match=r"optimizer.lr is missing, and a group scales it"):
        settings(flat, Rules(groups=({"match": "bias", "lr_scale": 0.5},)), lr=None)


def test_a_model_is_asked_for_the_depths_of_its_own_parameters_alone() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model.depth_of = lambda name: {"0": 0, "1": 1}[name[0]]  # type: ignore[assignment]
    named = [*model.named_parameters(), ("learner.scale", nn.Parameter(torch.ones(())))]
    groups = grouped(model, named, Rules(layer_decay=0.5), lr=1.0, place="optimizer")
    assert [group.get("lr", 1.0) for group in groups] == [1.0, 0.5]
    model.depth_of = lambda name: None  # type: ignore[assignment]
    with pytest.raises(ConfigError, match=r"Sequential.depth_of raised TypeError.*return an integer"):
        grouped(model, named, Rules(layer_decay=0.5), lr=1.0, place="optimizer")


def test_rules_need_an_effect_in_one_of_the_models_that_share_them() -> None:
    def check(rules: Rules, *models: nn.Module) -> None:
        check_effects([(model, list(model.named_parameters())) for model in models], rules, "optimizer")

    class Level(nn.Linear):
        def depth_of(self, name: str) -> int:
            return 3

    flat, level, deep = nn.Linear(2, 2), Level(2, 2), Deep()
    blocks, decay = Rules(groups=({"match": "^blocks", "lr_scale": 0.1},)), Rules(layer_decay=0.5)
    for rules in (blocks, decay):
        check(rules, flat, level, deep)
    assert {one["lr"] for one in settings(flat, blocks).values()} == {0.1}
    assert {one["lr"] for one in settings(level, decay).values()} == {0.1}
    with pytest.raises(ConfigError, match=r"groups\[0\].match=\^blocks matches no trained parameter; .* weight, bias"):
        check(blocks, flat, level)
    with pytest.raises(ConfigError, match=r"finds no numbered layers.* in Linear, Linear; .*depth_of\(name\)"):
        check(decay, flat, flat)
    with pytest.raises(ConfigError, match=r"=0.5: Level.depth_of returns one depth .* greater one for later layers"):
        check(decay, flat, level)
