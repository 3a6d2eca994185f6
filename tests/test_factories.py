"""Models and optimizers that a function or a classmethod makes: as exact as those of a class, and as safe."""

from pathlib import Path
from typing import Any

import pytest
from torch import nn

import runner
from runner.errors import ConfigError, TargetRefused
from runner.wiring.build.objects import trust_overrides
from runner.wiring.trust.budget import Budget
from runner.wiring.trust.instantiate import build
from runner.wiring.trust.targets import Trust, resolve
from tests.own import factories
from tests.support.command_line import TINY, cli
from tests.support.comparing import difference, entries_of

HOME = "tests.own.factories"
PACKAGE = Trust(packages=frozenset({"tests"}), budget=Budget(0))
"""What a file may build under RUNNER_TRUST=tests."""
AUTO = ("model=own", f"model._target_={HOME}.Auto.from_config", "+model.dropout=0.3",
        f"+model.config={{_target_: {HOME}.Settings, width: 5, given: {{num_classes: labels}}}}")  # fmt: skip
RUN = (*AUTO, *TINY[3:7], "optimizer=own", f"optimizer._target_={HOME}.adam", "+optimizer.lr=0.01", *TINY[8:])
TRUST = f"trust=[{HOME}.Auto.from_config,{HOME}.adam]"


def listed(*names: str, budget: Budget | None = None) -> Trust:
    return Trust(frozenset({"tests"}), frozenset(f"{HOME}.{name}" for name in names), None, budget)


def model(trust: Trust, facts: dict[str, Any] | None = None, **node: Any) -> nn.Module:
    node["_target_"] = f"{HOME}.{node.pop('of')}"
    made: nn.Module = build(node, nn.Module, place="model", trust=trust, given=facts, facts=facts)
    return made


@pytest.mark.parametrize("name", ["net", "Auto.from_config"])
def test_a_function_of_a_trusted_package_is_built_only_by_its_exact_name(name: str) -> None:
    with pytest.raises(TargetRefused, match=rf"exact name.*trust=\[tests,{HOME}.{name}\]"):
        resolve(f"{HOME}.{name}", nn.Module, PACKAGE, "model")
    assert callable(resolve(f"{HOME}.{name}", nn.Module, listed(name), "model"))


def test_a_function_that_makes_no_model_is_refused() -> None:
    with pytest.raises(TargetRefused, match="no_net returned a str, wanted a Module"):
        model(listed("no_net"), of="no_net", width=3)


def test_a_listed_function_takes_no_more_memory_than_a_class_out_of_a_file_may() -> None:
    with pytest.raises(TargetRefused, match=rf"add model._target_={HOME}.wide"):
        model(listed("wide", budget=Budget(0, listed=frozenset({f"{HOME}.wide"}))), of="wide", width=2**15)
    assert model(listed("wide", budget=Budget(0, listed=frozenset({f"{HOME}.wide"}))), of="wide", width=2)


@pytest.mark.parametrize("asked", [True, 1, "imagenet"])
def test_a_function_out_of_a_file_fetches_no_weights(asked: Any) -> None:
    factories.loaded.clear()
    model(listed("net", budget=Budget(0)), of="net", kind="a", pretrained=asked, classes=2)
    assert factories.loaded == []
    model(listed("net"), of="net", kind="b", pretrained=True, classes=2)
    assert factories.loaded == ["b"]


@pytest.mark.parametrize("given", [["num_classes"], {"num_classes": "classes"}])
def test_facts_of_the_data_reach_keyword_arguments_by_the_names_that_the_config_gives(given: Any) -> None:
    with pytest.raises(ConfigError, match="KeyError"):
        model(listed("net"), {"num_classes": 3}, of="net", kind="a")
    if isinstance(given, list):
        with pytest.raises(ConfigError, match="KeyError"):  # it is called `classes` there
            model(listed("net"), {"num_classes": 3}, of="net", kind="a", given=given)
    else:
        made = model(listed("net"), {"num_classes": 3}, of="net", kind="a", given=given)
        assert isinstance(made, nn.Linear) and made.out_features == 3


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["num_labels"], r"model\.given: the data have no num_labels; name some of: num_classes"),
        ([["num_classes"]], "the data have no .'num_classes'"),
        ("num_classes", r"write a list, such as model\.given=\[num_classes\]"),
    ],
)
def test_a_fact_that_there_is_not_is_refused(given: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        model(listed("net"), {"num_classes": 3}, of="net", kind="a", given=given)


def test_an_object_within_another_gets_the_facts_that_it_asks_for() -> None:
    config = {"_target_": f"{HOME}.Settings", "width": 4, "given": {"num_classes": "labels"}}
    made = model(listed("Auto.from_config"), {"num_classes": 3}, of="Auto.from_config", config=config)
    assert [tuple(one.shape) for one in made.parameters()] == [(4, 4), (4,), (3, 4), (3,)]


def test_the_override_that_a_resume_needs_names_functions_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNNER_TRUST")
    config = {"model": {"_target_": f"{HOME}.Auto.from_config", "config": {"_target_": f"{HOME}.Settings"}}}
    assert trust_overrides(config) == [f"trust=[tests,{HOME}.Auto.from_config]"]


def test_a_run_of_factories_resumes_bit_for_bit_and_not_without_its_trust(runs: Path, capsys: Any) -> None:
    begun = cli(capsys, *RUN, "name=x", "checkpoint=every_n_steps", "checkpoint.every_steps=4")
    assert begun.code == 0 and TRUST in begun.out, begun.err
    again = ("name=y", f"resume={runs}/x/checkpoints/step_0000000004.tar")
    refused = cli(capsys, *again)
    assert refused.code == 2 and "exact name" in refused.err and not (runs / "y").exists()
    assert cli(capsys, *again, TRUST).code == 0
    assert difference(*(entries_of(runs / name / "last.tar") for name in ("x", "y"))) is None
    assert cli(capsys, "task=evaluate", f"checkpoint_path={runs}/y", TRUST).code == 0
    names = (f"{HOME}.Auto.from_config",)
    assert isinstance(runner.load(str(runs / "y/last.tar"), trust=names), nn.Sequential)


def test_a_changed_setting_of_an_optimizer_that_takes_the_model_takes_effect(runs: Path, capsys: Any) -> None:
    assert cli(capsys, *RUN, "name=x", "scheduler=none", "epochs=1").code == 0
    outcome = cli(capsys, "resume=outputs/x", TRUST, "optimizer.lr=0.5", "epochs=2")
    assert outcome.code == 0, outcome.err
    groups = entries_of(runs / "x/last.tar")["optimizer_state_dict"]["param_groups"]
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [(0.5, 0.01), (0.5, 0.0)]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("optimizer.layer_decay=0.5", "leave out groups, no_decay, layer_decay"),
        ("learner._target_=tests.own.learners.LeadingModule", "learner.scale is not in it"),
    ],
)
def test_an_optimizer_of_the_model_alone_trains_all_or_is_refused(
    runs: Path, capsys: Any, override: str, said: str
) -> None:
    outcome = cli(capsys, *RUN, override)
    assert outcome.code == 2 and said in outcome.err and not runs.exists()


def test_a_model_of_transformers_is_made_from_its_config(runs: Path, capsys: Any) -> None:
    pytest.importorskip("transformers", reason="needs the package transformers")
    bert = (
        "{_target_: transformers.BertConfig, hidden_size: 8, num_hidden_layers: 1, num_attention_heads: 2, "
        "intermediate_size: 8, vocab_size: 9, max_position_embeddings: 9, given: {num_classes: num_labels}}"
    )
    auto = "transformers.AutoModelForSequenceClassification.from_config"
    words = ("model=own", f"model._target_={auto}", f"+model.config={bert}", "data=own", "learner=own", "device=cpu",
             "data._target_=tests.own.texts.Texts", "learner._target_=tests.own.texts.Classifying", "tracker=none",
             "batch_size=4", "epochs=2", "checkpoint.keep_last=9")  # fmt: skip
    trust = f"trust=[transformers,{auto}]"
    begun = cli(capsys, *words, "name=x")
    assert begun.code == 0 and trust in begun.out, begun.err
    assert cli(capsys, "name=y", f"resume={runs}/x/checkpoints/step_0000000003.tar", trust).code == 0
    assert difference(*(entries_of(runs / name / "last.tar") for name in ("x", "y"))) is None


def test_a_function_in_the_projects_folder_is_told_how_to_be_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "functions_alone.py").write_text("def make(): raise AssertionError\n")
    monkeypatch.syspath_prepend(tmp_path)
    trust = Trust(frozenset(), frozenset(), tmp_path, Budget(0))
    with pytest.raises(
        TargetRefused, match=r"is not a class in .* is a function .* add trust=\[functions_alone.make\]"
    ):
        resolve("functions_alone.make", nn.Module, trust, "model")
