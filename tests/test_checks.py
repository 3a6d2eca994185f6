"""What is refused before a run begins, because it does not fit its place."""

from typing import Any

import pytest
import torch
from torch import nn

from runner.errors import ConfigError
from runner.learners import Classification
from runner.wiring.build.checks import check_learner, check_optimizer


def learner(**attributes: Any) -> Any:
    """Return a learner of which some attributes are others."""
    return type("Mine", (Classification,), attributes)()


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"updates": None}, "Mine has no method `updates`"),
        ({"training": None}, "Mine has no method `training`"),
        ({"metrics": "loss"}, "Mine has metrics = 'loss'; give it a tuple"),
        ({"metrics": ()}, r"Mine has metrics = \(\)"),
        ({"models": "model"}, "Mine has models = 'model'; give it a tuple"),
    ],
)
def test_a_learner_that_lacks_something_is_one_sentence(attributes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_learner(learner(**attributes))


def test_a_learner_without_metrics_is_one_sentence_and_one_without_models_trains_the_model() -> None:
    methods = dict.fromkeys(("updates", "training", "evaluation"), print)
    with pytest.raises(ConfigError, match="Bare has no `metrics`"):
        check_learner(type("Bare", (), methods)())
    check_learner(type("Whole", (), {**methods, "metrics": ["loss"]})())


def test_an_optimizer_for_sparse_gradients_may_train_what_has_only_those() -> None:
    model = nn.Embedding(3, 2, sparse=True)
    check_optimizer(torch.optim.SparseAdam(list(model.named_parameters())), model, "optimizer")
    with pytest.raises(ConfigError, match=r"that of 1\.weight is dense"):
        both = nn.Sequential(model, nn.Linear(2, 1, bias=False))
        check_optimizer(torch.optim.SparseAdam(list(both.named_parameters())), both, "optimizer")


def test_an_optimizer_for_cuda_graphs_is_refused_on_another_device() -> None:
    model = nn.Linear(2, 1)
    with pytest.raises(ConfigError, match=r"optimizer\.capturable=true is for CUDA graphs, but the model is on cpu"):
        check_optimizer(torch.optim.Adam(model.parameters(), capturable=True), model, "optimizer")
