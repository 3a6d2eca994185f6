"""A name out of a file builds a class of its role that somebody trusts, or nothing at all."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from runner.errors import ConfigError, TargetRefused
from runner.wiring.build.objects import trust_overrides
from runner.wiring.trust.budget import Budget
from runner.wiring.trust.instantiate import build
from runner.wiring.trust.own_code import defines
from runner.wiring.trust.targets import Trust, resolve

NOBODY = Trust()


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "subprocess.Popen",
        "torch.load",
        "torch.hub.load",
        "torch.utils.collect_env.run",
        "torch.utils.cpp_extension.load_inline",
        "torch.nn.modules.module.torch.load",
        "torch.optim.optimizer.torch.load",
        "torch.nn.functional.relu",
        "torch.nn.init.normal_",
        "torch.nn.modules.module.OrderedDict",
        "torch.optim.SGD",
        "runner.wiring.config.compose.compose",
        "runner.checkpoint.reader.header.io.BytesIO",
        "runner.data.Digits",
        "builtins.eval",
        "torch.nn",
        "torch",
        "",
    ],
)
def test_what_is_no_trusted_module_is_refused(name: str) -> None:
    with pytest.raises(TargetRefused):
        resolve(name, nn.Module, NOBODY, "model")


@pytest.mark.parametrize("name", ["torch.nn.Linear", "torch.nn.modules.linear.Linear", "runner.models.LeNet"])
def test_a_trusted_class_of_its_role_is_found(name: str) -> None:
    assert issubclass(resolve(name, nn.Module, NOBODY, "model"), nn.Module)


def test_nested_targets_obey_the_same_rule() -> None:
    node = {"_target_": "torch.nn.Linear", "in_features": 2, "out_features": {"_target_": "os.system", "command": "x"}}
    with pytest.raises(TargetRefused, match=r"model\.out_features"):
        build(node, nn.Module, place="model", trust=NOBODY)


def test_a_package_that_is_listed_may_be_built_and_another_may_not() -> None:
    trust = Trust(packages=frozenset({"tests"}))
    assert resolve("tests.own.points.NoisyPoints", object, trust, "data").__name__ == "NoisyPoints"
    with pytest.raises(TargetRefused, match="trust="):
        resolve("tests.own.points.NoisyPoints", object, NOBODY, "data")


PROJECT = {
    "one.py": """
from torch.nn import *
from torch.nn import Linear
class Net:
    class Inner: ...
made = type("made", (), {})
if True:
    class Conditional: ...
def function():
    class Other: ...
""",
    "two/__init__.py": "from .deep import *\nfrom one import Net as Renamed\n",
    "two/deep.py": "class Net: ...\n",
    "two/plain/net.py": "class Net: ...\n",
    "circle.py": "from circle import *\nfrom .circle import Net\n",
}


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("one.Net", True),
        ("one.Inner", False),
        ("one.Net.Inner", True),
        ("one.made", True),
        ("one.Conditional", True),
        ("one.Other", False),
        ("one.Linear", False),
        ("one.function", False),
        ("two.Net", True),
        ("two.Renamed", True),
        ("two.deep.Net", True),
        ("two.plain.Net", False),
        ("circle.Net", False),
    ],
)
def test_a_class_of_the_project_is_found_by_reading(tmp_path: Path, name: str, found: bool) -> None:
    for path, text in PROJECT.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert defines(name, tmp_path) is found


def test_the_word_that_a_resume_needs_is_one_that_helps() -> None:
    config = {
        "model": {"_target_": "torch.nn.Linear", "inner": [{"_target_": "torch.utils.data.TensorDataset"}]},
        "data": {"_target_": "numpy.random.default_rng"},
        "learner": {"_target_": "numpy.random.Generator"},
    }
    assert trust_overrides(config) == ["trust=[numpy,numpy.random.default_rng,torch.utils.data.TensorDataset]"]


def test_a_bounded_model_has_the_weights_of_an_unbounded_one() -> None:
    node = {"_target_": "torch.nn.LSTM", "input_size": 3, "hidden_size": 4, "num_layers": 2}
    models = []
    for budget in (None, Budget(0)):
        torch.manual_seed(1)
        models.append(build(node, nn.Module, place="model", trust=Trust(budget=budget)))
        models[-1].after = torch.rand(3)
    assert all(map(torch.equal, models[0].state_dict().values(), models[1].state_dict().values()))
    assert torch.equal(models[0].after, models[1].after)


def test_a_key_that_the_class_does_not_take_is_named_with_those_that_it_does(monkeypatch: Any) -> None:
    with pytest.raises(ConfigError, match="in_features"):
        build({"_target_": "torch.nn.Linear", "width": 3}, nn.Module, place="model", trust=NOBODY)
