"""Losses and metrics against values computed by hand, and whose gradients they are."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from runner.errors import ConfigError
from runner.learners import Classification, Gan, Learner, Regression
from runner.models import Discriminator, Generator

LOGITS = torch.tensor([[0.0, 0.0], [0.0, math.log(3)]])
TARGETS = torch.tensor([0, 1])


def gan_models() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {"generator": Generator(4, 1, (4, 4)), "discriminator": Discriminator(1, (4, 4)).eval()}


def images(count: int = 6) -> tuple[Tensor, Tensor]:
    real = torch.randn(count, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    return real, torch.zeros(count, dtype=torch.int64)


def seeded(call: Callable[[], Any]) -> Any:
    torch.manual_seed(5)
    return call()


def judged(logits: Tensor, wanted: float) -> Tensor:
    return nn.functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, wanted))


def test_classification_trains_its_one_model_with_the_cross_entropy() -> None:
    learner: Learner = Classification()
    terms = learner.training({"model": nn.Identity()}, "model", (LOGITS, TARGETS))
    expected = (math.log(2) + math.log(4 / 3)) / 2
    assert terms["loss"].item() == pytest.approx(expected)
    assert list(learner.updates(1)) == ["model"] == list(learner.models)


def test_classification_evaluates_exactly_its_metrics() -> None:
    learner = Classification()
    found = learner.evaluation({"model": nn.Identity()}, (LOGITS, torch.tensor([1, 1])))
    assert tuple(found) == learner.metrics
    assert found["accuracy"].item() == 0.5


def test_label_smoothing_changes_training_and_not_evaluation() -> None:
    models, batch = {"model": nn.Identity()}, (LOGITS, TARGETS)
    plain, smooth = Classification(), Classification(label_smoothing=0.2)
    expected = nn.functional.cross_entropy(LOGITS, TARGETS, label_smoothing=0.2)
    assert torch.equal(smooth.training(models, "model", batch)["loss"], expected)
    assert not torch.equal(expected, plain.training(models, "model", batch)["loss"])
    assert torch.equal(smooth.evaluation(models, batch)["loss"], plain.evaluation(models, batch)["loss"])


@pytest.mark.parametrize("wrong", [-0.1, 1.0])
def test_impossible_label_smoothing_is_refused_at_once(wrong: float) -> None:
    with pytest.raises(ConfigError, match="label_smoothing"):
        Classification(label_smoothing=wrong)


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (torch.zeros(2), r"targets are \(2,\) torch.float32: .* learner=regression"),
        (torch.eye(2), r"targets are \(2, 2\) torch.float32"),
        (torch.eye(2).long(), r"targets are \(2, 2\) torch.int64"),
        (torch.zeros(2, dtype=torch.int32), r"targets are \(2,\) torch.int32"),
        (["a", "b"], "targets are a list"),
        (torch.tensor([0, 2]), "returns 2 classes, numbered from 0, and a target is outside them"),
    ],
)
def test_classification_refuses_targets_that_are_no_classes(targets: Any, said: str) -> None:
    for call in (lambda m, b: Classification().training(m, "model", b), Classification().evaluation):
        with pytest.raises(ConfigError, match=said):
            call({"model": nn.Identity()}, (LOGITS, targets))


def test_classification_takes_a_class_for_each_pixel() -> None:
    logits, targets = torch.randn(2, 3, 4, 4), torch.zeros(2, 4, 4, dtype=torch.int64)
    found = Classification().evaluation({"model": nn.Identity()}, (logits, targets))
    assert torch.equal(found["loss"], nn.functional.cross_entropy(logits, targets))


def test_a_gan_updates_the_discriminator_first_and_both_in_every_step() -> None:
    learner: Learner = Gan(latent=4)
    assert [list(learner.updates(step)) for step in (0, 1, 2)] == [["discriminator", "generator"]] * 3
    assert set(learner.models) == {"discriminator", "generator"}


def test_the_discriminators_loss_has_no_gradient_for_the_generator() -> None:
    models = gan_models()
    Gan(latent=4).training(models, "discriminator", images())["loss"].backward()
    assert all(parameter.grad is None for parameter in models["generator"].parameters())
    assert all(parameter.grad is not None for parameter in models["discriminator"].parameters())


def test_the_generators_loss_is_the_non_saturating_one() -> None:
    models = gan_models()
    loss = seeded(lambda: Gan(latent=4).training(models, "generator", images())["loss"])
    made = models["generator"](seeded(lambda: torch.randn(6, 4)))
    assert torch.equal(loss, judged(models["discriminator"](made), 1.0))
    loss.backward()
    assert all(parameter.grad is not None for parameter in models["generator"].parameters())


def test_the_discriminators_loss_is_the_mean_over_real_and_made_images() -> None:
    models, (real, targets) = gan_models(), images()
    loss = seeded(lambda: Gan(latent=4).training(models, "discriminator", (real, targets))["loss"])
    made = models["generator"](seeded(lambda: torch.randn(6, 4)))
    parts = judged(models["discriminator"](real), 1.0), judged(models["discriminator"](made), 0.0)
    assert torch.equal(loss, (parts[0] + parts[1]) / 2)


def test_a_gan_evaluates_exactly_its_metrics() -> None:
    learner, models, batch = Gan(latent=4), gan_models(), images()
    found = seeded(lambda: learner.evaluation(models, batch))
    assert set(found) == set(learner.metrics)
    assert torch.equal(found["loss"], found["generator_loss"])
    believed = (models["discriminator"](batch[0]) > 0).float().mean()
    assert torch.equal(found["real_accuracy"], believed)
    assert torch.equal(
        found["discriminator_loss"], seeded(lambda: learner.training(models, "discriminator", batch)["loss"])
    )


def test_a_gan_without_noise_is_refused() -> None:
    with pytest.raises(ConfigError, match="latent=0"):
        Gan(latent=0)


def answering(outputs: Tensor) -> dict[str, nn.Module]:
    """Return a model that always gives these outputs."""
    model = nn.Identity()
    model.forward = lambda _: outputs  # type: ignore[method-assign, assignment]
    return {"model": model}


def test_regression_compares_each_number_with_its_own_target() -> None:
    targets = torch.tensor([1.0, 2.0, 3.0])
    models, batch = answering(torch.tensor([[1.0], [3.0], [5.0]])), (torch.zeros(3, 1), targets)
    assert Regression().training(models, "model", batch)["loss"] == pytest.approx(5 / 3)
    assert Regression("l1").training(models, "model", batch)["loss"] == pytest.approx(1.0)
    measured = Regression("huber").evaluation(models, batch)
    assert measured["loss"] == pytest.approx((0.5 + 1.5) / 3) and measured["mae"] == pytest.approx(1.0)
    assert set(measured) == set(Regression.metrics)


def test_regression_refuses_another_number_of_outputs_instead_of_spreading_them() -> None:
    with pytest.raises(ConfigError, match="return the targets' shape"):
        Regression().training(answering(torch.zeros(3, 2)), "model", (torch.zeros(3, 1), torch.zeros(3)))
    with pytest.raises(ConfigError, match="no loss"):
        Regression("cubic")


def test_regression_takes_no_other_order_of_the_dimensions_for_the_targets() -> None:
    with pytest.raises(ConfigError, match="return the targets' shape"):
        Regression().training(answering(torch.zeros(3, 2, 4)), "model", (torch.zeros(3, 1), torch.zeros(3, 4, 2)))


def test_regression_does_not_round_the_targets_to_a_short_output() -> None:
    models, target = answering(torch.zeros(1, dtype=torch.bfloat16)), torch.tensor([1.001])
    assert torch.equal(Regression("l1").training(models, "model", (target, target))["loss"], target[0])
