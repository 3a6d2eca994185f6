"""A name out of a file builds a class of its role that somebody trusts, or nothing at all."""

from typing import Any

import pytest
from torch import nn

from runner.errors import ConfigError, TargetRefused
from runner.wiring.targets import Trust, build, resolve

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
        "runner.wiring.compose.compose",
        "runner.checkpoint.header.io.BytesIO",
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
    assert resolve("tests.own.NoisyPoints", object, trust, "data").__name__ == "NoisyPoints"
    with pytest.raises(TargetRefused, match="trust="):
        resolve("tests.own.NoisyPoints", object, NOBODY, "data")


def test_a_key_that_the_class_does_not_take_is_named_with_those_that_it_does(monkeypatch: Any) -> None:
    with pytest.raises(ConfigError, match="in_features"):
        build({"_target_": "torch.nn.Linear", "width": 3}, nn.Module, place="model", trust=NOBODY)
