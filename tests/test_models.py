"""Shapes, names and refusals of the models that come with the package."""

import pytest
import torch
from torch import nn

from runner.errors import ConfigError
from runner.models import Discriminator, Generator, LeNet, Mlp, ResNet


def test_lenet_has_the_names_and_shapes_of_the_tutorial() -> None:
    shapes = {name: tuple(value.shape) for name, value in LeNet(3, (32, 32), 10).state_dict().items()}
    assert shapes == {
        "conv1.weight": (6, 3, 5, 5), "conv1.bias": (6,),
        "conv2.weight": (16, 6, 5, 5), "conv2.bias": (16,),
        "fc1.weight": (120, 400), "fc1.bias": (120,),
        "fc2.weight": (84, 120), "fc2.bias": (84,),
        "fc3.weight": (10, 84), "fc3.bias": (10,),
    }  # fmt: skip


@pytest.mark.parametrize("size", [(16, 16), (28, 28), (33, 47)])
def test_lenet_takes_images_of_any_size_from_16_pixels_on(size: tuple[int, int]) -> None:
    assert LeNet(1, size, 7)(torch.zeros(2, 1, *size)).shape == (2, 7)


@pytest.mark.parametrize("size", [(15, 32), (32, 15)])
def test_lenet_refuses_smaller_images_and_names_the_way_out(size: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match=f"{size[0]}x{size[1]}; try model=mlp"):
        LeNet(1, size, 10)


@pytest.mark.parametrize("wrong", [{"in_channels": 0}, {"num_classes": 0}, {"dropout": 1.0}, {"dropout": -0.1}])
def test_lenet_refuses_impossible_arguments(wrong: dict[str, float]) -> None:
    arguments = {"in_channels": 1, "image_size": (32, 32), "num_classes": 10, **wrong}
    with pytest.raises(ConfigError, match="LeNet cannot have"):
        LeNet(**arguments)  # type: ignore[arg-type]


def test_dropout_adds_no_name_to_the_state() -> None:
    assert LeNet(1, (32, 32), 10, dropout=0.5).state_dict().keys() == LeNet(1, (32, 32), 10).state_dict().keys()
    assert Mlp(4, 2, (3,), dropout=0.5).state_dict().keys() == Mlp(4, 2, (3,)).state_dict().keys()


@pytest.mark.parametrize("model", [LeNet(1, (16, 16), 10, dropout=0.5), Mlp(256, 10, dropout=0.5)])
def test_dropout_acts_in_training_only(model: nn.Module) -> None:
    inputs = torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(model.train()(inputs), model(inputs))
    assert torch.equal(model.eval()(inputs), model(inputs))


def test_an_mlp_flattens_its_inputs() -> None:
    assert Mlp(24, 5, hidden=[8, 8])(torch.zeros(3, 2, 3, 4)).shape == (3, 5)


def test_an_mlp_without_hidden_layers_is_one_linear_layer() -> None:
    model, inputs = Mlp(6, 3, hidden=[]), torch.ones(2, 6)
    weight, bias = model.state_dict().values()
    assert torch.equal(model(inputs), nn.functional.linear(inputs, weight, bias))


@pytest.mark.parametrize(
    "wrong", [{"in_features": 0}, {"num_classes": 0}, {"hidden": [4, 0]}, {"dropout": 1.0}, {"dropout": -1.0}]
)
def test_an_mlp_refuses_impossible_arguments(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="Mlp cannot have"):
        Mlp(**{"in_features": 4, "num_classes": 2, **wrong})  # type: ignore[arg-type]


def test_a_generator_makes_images_between_minus_one_and_one() -> None:
    images = Generator(8, 1, (32, 32))(100 * torch.randn(5, 8, generator=torch.Generator().manual_seed(0)))
    assert images.shape == (5, 1, 32, 32)
    assert images.abs().max() <= 1


def test_a_discriminator_gives_one_logit_an_image_and_has_dropout() -> None:
    discriminator = Discriminator(1, (32, 32))
    assert discriminator(torch.zeros(5, 1, 32, 32)).shape == (5, 1)
    assert any(isinstance(module, nn.Dropout) and module.p > 0 for module in discriminator.modules())


def test_a_generator_refuses_to_start_from_nothing() -> None:
    with pytest.raises(ConfigError, match="latent=0"):
        Generator(0, 1, (32, 32))


@pytest.mark.parametrize(("depth", "parameters"), [(20, 269_722), (32, 464_154), (56, 853_018)])
def test_a_resnet_has_the_size_of_the_paper(depth: int, parameters: int) -> None:
    model = ResNet(3, 10, depth)
    assert sum(p.numel() for p in model.parameters()) == parameters
    weighted = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert len(weighted) == depth


@pytest.mark.parametrize("size", [(32, 32), (28, 28), (17, 9)])
def test_a_resnet_takes_images_of_any_size(size: tuple[int, int]) -> None:
    model = ResNet(1, 7, 8)
    logits = model(torch.randn(4, 1, *size))
    logits.sum().backward()
    assert logits.shape == (4, 7) and all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("wrong", [{"depth": 18}, {"depth": 2}, {"num_classes": 0}])
def test_a_resnet_refuses_impossible_arguments(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="6n"):
        ResNet(**{"in_channels": 1, "num_classes": 10, **wrong})
