"""Frozen parameters: as they were until their step, in any attempt of a run."""

from pathlib import Path
from typing import Any

import pytest
import torch

from runner.optim.freezing import frozen_part
from tests.own.backbone import Backbone
from tests.support.command_line import TINY, cli
from tests.support.comparing import difference, entries_of

WORDS = (
    *TINY[3:], "model=own", "model._target_=tests.own.backbone.Backbone", "optimizer=adamw", "accumulate=1",
    "optimizer.weight_decay=0.1", "checkpoint=every_n_steps", "checkpoint.every_steps=1", "ema.decay=0.9",
)  # fmt: skip
BACKBONE = "optimizer.freeze=['^backbone']"


def run(capsys: Any, *words: str) -> str:
    outcome = cli(capsys, *words)
    assert outcome.code == 0, outcome.err + outcome.out
    return outcome.out


def weights(run: Path, step: int, part: str = "model") -> dict[str, Any]:
    """Return the backbone's part of a checkpoint's model, average or moments."""
    state = entries_of(run / f"checkpoints/step_{step:010}.tar")[f"{part}_state_dict"]
    return {name: value for name, value in state.items() if name.startswith("backbone")}


def with_moments(run: Path, step: int) -> set[str]:
    """Return the names of the parameters that an optimizer has stepped."""
    state = entries_of(run / f"checkpoints/step_{step:010}.tar")["optimizer_state_dict"]
    names = [name for group in state["param_groups"] for name in group["param_names"]]
    return {names[number] for number in state["state"]}


@pytest.mark.parametrize("until", ["1", "{step: 3}"])
def test_what_is_frozen_stays_until_its_step_and_is_trained_from_it_on(runs: Path, capsys: Any, until: str) -> None:
    said = run(capsys, *WORDS, BACKBONE, f"optimizer.unfreeze_at={until}", "name=x")
    assert "model: frozen until step 3: 2 tensors, 20 numbers, statistics of 1 layers: backbone.0.weight, b" in said
    first, last = (weights(runs / "x", step) for step in (1, 3))
    assert difference(first, last) is None and first["backbone.1.num_batches_tracked"] == 0
    assert difference(weights(runs / "x", 3, "ema"), first) is None
    assert with_moments(runs / "x", 3) == {"norm.weight", "norm.bias", "head.1.weight", "head.1.bias"}
    after = weights(runs / "x", 4)
    assert not any(torch.equal(value, first[name]) for name, value in after.items())
    assert len(with_moments(runs / "x", 4)) == 6


@pytest.mark.parametrize(("until", "step"), [("0.5", 2), ("1.5", 5), ("0.1", 1), ("2", 6)])
def test_a_part_of_an_epoch_is_over_at_the_first_step_that_reaches_it(
    runs: Path, capsys: Any, until: str, step: int
) -> None:
    said = run(capsys, *WORDS, BACKBONE, f"optimizer.unfreeze_at={until}", "max_steps=1", "name=x")
    assert f"model: frozen until step {step}: " in said


@pytest.mark.slow
@pytest.mark.parametrize("until", ["null", "{step: 3}"])
def test_a_resume_before_at_and_after_the_unfreezing_is_exact(runs: Path, capsys: Any, until: str) -> None:
    run(capsys, *WORDS, BACKBONE, f"optimizer.unfreeze_at={until}", "name=x")
    for step in (2, 3, 4):
        run(capsys, f"resume=outputs/x/checkpoints/step_{step:010}.tar", f"name=y{step}")
        assert difference(entries_of(runs / f"y{step}/last.tar"), entries_of(runs / "x/last.tar")) is None


def test_training_equals_that_of_an_optimizer_without_the_frozen_parameters(runs: Path, capsys: Any) -> None:
    run(capsys, *WORDS, BACKBONE, "clip_norm=0.1", "max_steps=3", "name=x")
    words = ("model._target_=tests.own.backbone.HeadAlone", "clip_norm=0.1", "max_steps=3", "name=y")
    run(capsys, *WORDS, *words)
    one, other = (entries_of(runs / f"{name}/last.tar") for name in "xy")
    assert difference(one["model_state_dict"], other["model_state_dict"]) is None


def test_a_later_attempt_may_release_what_the_run_froze_for_ever(runs: Path, capsys: Any) -> None:
    run(capsys, *WORDS, BACKBONE, "max_steps=3", "epochs=null", "name=x")
    said = run(capsys, "resume=outputs/x", "optimizer.freeze=[]", "optimizer.lr=0.001", "max_steps=5")
    assert "optimizer.freeze" in said and "takes effect" in said
    assert len(with_moments(runs / "x", 5)) == 6
    run(capsys, "resume=outputs/x", BACKBONE, "max_steps=6")
    assert difference(weights(runs / "x", 5), weights(runs / "x", 6)) is None


def test_a_warm_start_may_freeze_some_and_the_optimizer_others(runs: Path, capsys: Any) -> None:
    run(capsys, *WORDS, "max_steps=1", "name=x")
    words = ("warm_start.path=outputs/x", "warm_start.freeze=['^norm']", "max_steps=4", "name=y")
    run(capsys, *WORDS, *words, BACKBONE, "optimizer.unfreeze_at={step: 2}")
    assert with_moments(runs / "y", 2) == {"head.1.weight", "head.1.bias"}
    assert with_moments(runs / "y", 3) == {"head.1.weight", "head.1.bias", "backbone.0.weight", "backbone.0.bias"}
    run(capsys, "resume=outputs/y/checkpoints/step_0000000001.tar", "name=z")
    assert difference(entries_of(runs / "z/last.tar"), entries_of(runs / "y/last.tar")) is None


def test_of_several_models_each_has_its_own_frozen_part(runs: Path, capsys: Any) -> None:
    words = (
        "experiment=gan_digits", "model.generator.latent=4", "learner.latent=4", "data=synthetic", "data.size=16",
        "data.shape=[1,16,16]", "batch_size=8", "epochs=1", "tracker=csv", "checkpoint.every_steps=1",
    )  # fmt: skip
    said = run(capsys, *words, "optimizer.freeze=['^layers.1']", "name=x")
    frozen = [name for name in ("generator", "discriminator") if f"{name}: frozen for the whole run" in said]
    assert frozen == ["discriminator"]
    one, other = (entries_of(runs / f"x/checkpoints/step_000000000{step}.tar") for step in (1, 2))
    kept, moved = (f"{name}_state_dict" for name in ("discriminator", "generator"))
    assert torch.equal(one[kept]["layers.1.weight"], other[kept]["layers.1.weight"])
    assert difference(one[moved], other[moved]) is not None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "optimizer.freeze=['^stem']",
            "optimizer.freeze=[^stem] matches no trained parameter; the names are backbone.0",
        ),
        ("optimizer.freeze=['(']", "optimizer.freeze=[(] is not a regular expression"),
        (
            "optimizer.freeze=[head,norm,bias,weight]",
            "optimizer.freeze freezes every parameter of the model; leave some to train",
        ),
        ("optimizer.unfreeze_at=2", "optimizer.freeze=[] is invalid; use a list of patterns"),
        (f"{BACKBONE} optimizer.unfreeze_at=-1", "optimizer.unfreeze_at=-1 is invalid; use a number of epochs above 0"),
        (f"{BACKBONE} optimizer.unfreeze_at={{step:2.5}}", "optimizer.unfreeze_at={'step': 2.5} is invalid"),
        (f"{BACKBONE} optimizer.unfreeze_at=two", "optimizer.unfreeze_at=two is invalid"),
        (f"{BACKBONE} optimizer.unfreeze_at={{epoch:2}}", "is invalid; use a number of epochs above 0, or a mapping"),
        (
            "optimizer=own optimizer._target_=torch.optim.SGD +optimizer.lr=0.1 optimizer.freeze=head",
            "optimizer.freeze=head is invalid; use a list of patterns, such as ['^stem']",
        ),
    ],
)
def test_a_freezing_that_is_none_is_one_sentence_and_nothing_is_made(
    runs: Path, capsys: Any, words: str, said: str
) -> None:
    given = [word for word in WORDS if not words.startswith("optimizer=own") or not word.startswith("optimizer")]
    outcome = cli(capsys, *given, *words.split())
    assert outcome.code == 2 and said in outcome.err and not runs.exists(), outcome.err


def test_a_pattern_of_parameters_alone_leaves_running_statistics_in_training() -> None:
    model = Backbone(4, 2)
    named = list(model.named_parameters())
    assert frozen_part(model, named, [r"^norm\.(weight|bias)"], until=None).norms == []
    assert frozen_part(model, named, ["^norm"], until=None).norms == [model.norm]
    besides = frozen_part(model, named, ["^(?!head|norm)"], until=None)
    assert besides.norms == [model.backbone[1]] and set(besides.parameters) == {"backbone.0.weight", "backbone.0.bias"}
