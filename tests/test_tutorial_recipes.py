"""The recipes of PyTorch's "Saving and Loading Models", which know nothing of this package, read its files.

The reading happens in a process that could not import the package if it wanted to.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.command_line import cli

GENERAL = """
import sys, torch, torch.nn as nn, torch.nn.functional as F, torch.optim as optim

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = torch.flatten(x, 1)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))

model = Net()
optimizer = optim.SGD(model.parameters(), lr=0.001, momentum=0.9)
checkpoint = torch.load("outputs/x/last.tar", weights_only=True)
model.load_state_dict(checkpoint["model_state_dict"])
optimizer.load_state_dict(checkpoint["optimizer_state_dict"])
epoch, loss = checkpoint["epoch"], checkpoint["loss"]
model.eval()
assert (epoch, type(loss)) == (1, float)
assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
assert len(optimizer.state) == 10 and optimizer.param_groups[0]["lr"] == 0.05
assert "runner" not in sys.modules
"""

SEVERAL = """
import sys, torch
checkpoint = torch.load("outputs/x/last.tar", weights_only=True)
for name in ("generator", "discriminator"):
    weights = checkpoint[f"{name}_state_dict"]
    layers = [torch.nn.Linear(w.shape[1], w.shape[0]) for k, w in weights.items() if k.endswith("weight")]
    for layer, index in zip(layers, sorted({int(k.split(".")[1]) for k in weights})):
        layer.load_state_dict({k: weights[f"layers.{index}.{k}"] for k in ("weight", "bias")})
    parameters = [p for layer in layers for p in layer.parameters()]
    optimizer = torch.optim.Adam(parameters)
    optimizer.load_state_dict(checkpoint[f"{name}_optimizer_state_dict"])
    assert len(optimizer.state) == len(parameters)
assert "runner" not in sys.modules
"""


def read_with(recipe: str, work: Path) -> None:
    """Run a recipe in an isolated interpreter."""
    answer = subprocess.run([sys.executable, "-I", "-c", recipe], cwd=work, capture_output=True, text=True, timeout=60)
    assert answer.returncode == 0, answer.stderr


def test_the_general_recipe_reads_our_file(work: Path, capsys: Any) -> None:
    words = ("data=synthetic", "data.shape=[3,32,32]", "data.size=32", "optimizer=sgd", "scheduler=none", "epochs=1")
    assert cli(capsys, *words, "name=x").code == 0
    read_with(GENERAL, work)


def test_the_recipe_for_several_models_reads_our_gan(work: Path, capsys: Any) -> None:
    words = ("experiment=gan_digits", "data=synthetic", "data.size=32", "epochs=1")
    assert cli(capsys, *words, "name=x").code == 0
    read_with(SEVERAL, work)
