"""Models, each a plain `nn.Module` that works in any project."""

from runner.models.gan import Discriminator, Generator
from runner.models.lenet import LeNet
from runner.models.mlp import Mlp
from runner.models.resnet import ResNet

__all__ = ["Discriminator", "Generator", "LeNet", "Mlp", "ResNet"]
