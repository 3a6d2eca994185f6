"""Mixup and CutMix: what is mixed, the loss with it, and an exact resume."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from runner.errors import ConfigError
from runner.learners import Classification, Mixing
from tests.support.command_line import DATA, cli
from tests.support.comparing import difference, entries_of

WORDS = (
    *DATA, "data.shape=[1,6,6]", "model=mlp", "model.hidden=[8]", "model.dropout=0.2", "learner=classification",
    "optimizer=adam", "epochs=3", "log_every=1", "tracker=csv", "checkpoint=every_n_steps", "checkpoint.every_steps=1",
    "checkpoint.keep_last=100",
)  # fmt: skip


def numbered(count: int = 5, size: int = 7) -> tuple[Tensor, Tensor]:
    """Return images each of one value, its number, which is its target, too."""
    targets = torch.arange(count)
    return targets.float()[:, None, None, None].expand(count, 2, size, size).clone(), targets


def test_mixup_mixes_each_sample_with_its_partner_by_the_share() -> None:
    inputs, targets = numbered()
    torch.manual_seed(0)
    mixed, others, share = Mixing(mixup=0.4)(inputs, targets)
    wanted = share * targets + (1 - share) * others
    assert 0 < share < 1 and sorted(others.tolist()) == targets.tolist() != others.tolist()
    assert torch.allclose(mixed, wanted[:, None, None, None].expand_as(mixed))
    torch.manual_seed(0)
    assert float(torch.distributions.Beta(0.4, 0.4).sample()) == share


def test_cutmix_pastes_one_rectangle_and_its_share_is_the_area_left() -> None:
    torch.manual_seed(1)
    for _ in range(20):
        inputs, targets = numbered()
        mixed, others, share = Mixing(cutmix=1.0)(inputs, targets)
        assert torch.equal(inputs, numbered()[0])
        moved = next((number for number in range(5) if others[number] != number), 0)
        own, pasted = mixed[moved] == moved, mixed[moved] == others[moved]
        assert bool((own | pasted).all()) and (share == 1 or float(own.float().mean()) == pytest.approx(share))


def test_of_two_methods_each_has_its_turn_and_of_none_nothing_is_drawn() -> None:
    torch.manual_seed(0)
    inputs, targets = numbered()
    both = [Mixing(mixup=1.0, cutmix=1.0)(inputs, targets)[0] for _ in range(20)]
    cut = [bool((mixed == mixed.round()).all()) for mixed in both]
    assert 4 < sum(cut) < 16
    before = torch.get_rng_state()
    assert Mixing()(inputs, targets) == (inputs, targets, 1.0) and torch.equal(torch.get_rng_state(), before)


def test_the_loss_is_that_of_both_targets_and_the_evaluation_is_of_the_samples_alone() -> None:
    inputs, targets = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    models = {"model": nn.Linear(3, 3)}
    learner = Classification(label_smoothing=0.1, mixup=0.5)
    torch.manual_seed(3)
    loss = learner.training(models, "model", (inputs, targets))["loss"]
    torch.manual_seed(3)
    mixed, others, share = Mixing(mixup=0.5)(inputs, targets)
    soft = share * functional.one_hot(targets, 3) + (1 - share) * functional.one_hot(others, 3)
    assert torch.allclose(loss, functional.cross_entropy(models["model"](mixed), soft, label_smoothing=0.1))
    plain = Classification().evaluation(models, (inputs, targets))
    assert difference(learner.evaluation(models, (inputs, targets)), plain) is None


@pytest.mark.parametrize("words", [("learner.mixup=0.4",), ("learner.mixup=0.2", "learner.cutmix=1", "accumulate=2")])
def test_a_run_that_mixes_resumes_exactly(runs: Path, capsys: Any, words: tuple[str, ...]) -> None:
    assert cli(capsys, *WORDS, *words, "name=x").code == 0
    for step in (1, 4):
        outcome = cli(capsys, f"resume=outputs/x/checkpoints/step_{step:010}.tar", f"name=y{step}")
        assert outcome.code == 0, outcome.err
        assert difference(entries_of(runs / f"y{step}/last.tar"), entries_of(runs / "x/last.tar")) is None


def test_what_cannot_be_mixed_is_one_sentence(runs: Path, capsys: Any) -> None:
    for words, said in (
        (("data.shape=[4]", "learner.mixup=0.2", "learner.cutmix=1"), "cutmix needs images with a target for each"),
        (("learner.cutmix=-1",), "learner.cutmix=-1.0 is invalid; use 0 or more"),
    ):
        outcome = cli(capsys, *WORDS, *words)
        assert outcome.code == 2 and said in outcome.err and not runs.exists(), outcome.err
    with pytest.raises(ConfigError, match=r"mixup needs floating-point inputs, and these are torch.int64"):
        Mixing(mixup=1.0)(torch.ones(2, 3, dtype=torch.int64), torch.ones(2))
    with pytest.raises(ConfigError, match="Mixing cannot have mixup=-1"):
        Mixing(mixup=-1)
