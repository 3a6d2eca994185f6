"""What the first batches tell before a run begins, and that their trial leaves no trace."""

import multiprocessing
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from runner.data import Synthetic
from runner.data.loaders.loading import DataPosition, EvaluationLoader, Loading, TrainLoader, tried_batches
from runner.errors import ConfigError
from runner.learners import Classification, Gan
from runner.loop.state import TrainState
from runner.models import Discriminator, Generator, ResNet
from runner.optim.averaging import Average
from runner.optim.schedules import Horizon
from runner.progress import Progress
from runner.randomness import Randomness
from runner.stateful import Stateful
from runner.strategy.devices import Devices
from runner.strategy.precision import Precision
from runner.strategy.strategies import Single
from runner.wiring.build.dry_run import Trial
from tests.own.untrainable import Data, Remembering, Wrong
from tests.support.command_line import TINY, Outcome, cli, config_of


def state_of(models: dict[str, Any], learner: Any, *, average: bool = False) -> TrainState:
    cpu = torch.device("cpu")
    return TrainState(
        models=models,
        optimizers={name: torch.optim.SGD(model.parameters()) for name, model in models.items()},
        schedulers={},
        averages={name: Average(model, decay=0.9) for name, model in models.items()} if average else {},
        scaler=Precision("fp32", cpu),
        data=DataPosition(20, 8),
        rng=Randomness(),
        progress=Progress(),
        learner=learner if isinstance(learner, Stateful) else None,
    )


def tried(learner: Any, models: dict[str, Any], *, average: bool = False) -> list[torch.Tensor]:
    """Try, and return everything in the models."""
    data = Synthetic(shape=(1, 16, 16), classes=3, size=20)
    if isinstance(learner, Remembering):
        data.train.inputs, data.val.inputs = data.train.inputs[:, 0, 0, :4], data.val.inputs[:, 0, 0, :4]
    train = TrainLoader(data.train, Loading(8), seed=0, accumulate=2)
    val = EvaluationLoader(data.val, Loading(8, workers=0))
    state = state_of(models, learner, average=average)
    trial = Trial(config_of("batch_size=8", "accumulate=2"), state, learner, Single(Devices("cpu")))
    trial.run(train, {"": val}, Horizon(9, 3))
    whole = [*models.values(), *(average.model for average in state.averages.values())]
    return [value for model in whole for value in model.state_dict().values()]


def built(kind: type) -> tuple[Any, dict[str, Any]]:
    torch.manual_seed(0)
    if kind is Gan:
        return Gan(latent=4), {"generator": Generator(4, 1, (16, 16)), "discriminator": Discriminator(1, (16, 16))}
    if kind is Remembering:
        return Remembering(), {"model": torch.nn.Linear(4, 3)}
    return Classification(), {"model": ResNet(1, 3, depth=8)}


@pytest.mark.parametrize("kind", [Classification, Gan, Remembering])
def test_a_trial_draws_nothing_and_changes_nothing(kind: type) -> None:
    learner, models = built(kind)
    before = {name: model.state_dict() for name, model in models.items()}
    values = [value.clone() for state in before.values() for value in state.values()]
    content = [value.clone() for value in learner.content()] if kind is Remembering else []
    generators = random.getstate(), torch.get_rng_state(), str(np.random.get_state())
    after = tried(learner, models, average=True)
    assert random.getstate() == generators[0] and torch.equal(torch.get_rng_state(), generators[1])
    assert str(np.random.get_state()) == generators[2]
    assert all(torch.equal(one, other) for one, other in zip(after, values * 2, strict=True))
    assert all(model.state_dict().keys() == before[name].keys() for name, model in models.items())
    assert all(parameter.grad is None for model in models.values() for parameter in model.parameters())
    if kind is Remembering:
        assert all(torch.equal(one, other) for one, other in zip(content, learner.content(), strict=True))
        assert not hasattr(models["model"], "extra")


def started(capsys: Any, *words: str) -> Outcome:
    return cli(capsys, *TINY, "device=cpu", "data.workers=0", *words, "name=x")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["+data.fault=missing"], ["sample 13 of Wrong is None"]),
        (["+data.fault=ragged"], ["sample ", " of Wrong is (float32 (", "padded or cut"]),
        (["+data.fault=double"], ["float64 (4, 4)", "convert samples to float32", "Classification.training raised Ru"]),
        (["+data.fault=short"], ["sample 19 of Wrong raised KeyError: 'label' (", "own/untrainable.py:"]),
        (
            ["+data.fault=short", "+data.where=val"],
            ["sample 19 of Wrong raised KeyError: 'label' (", "untrainable.py:"],
        ),
        (["+data.fault=single"], ["Wrong make no batch"]),
        (["+data.fault=missing", "data.workers=2"], ["sample 13 of Wrong is None"]),
    ],
)
def test_what_is_wrong_with_the_data_is_one_sentence_and_nothing_made(
    work: Path, capsys: Any, words: list[str], said: list[str]
) -> None:
    outcome = started(capsys, "data._target_=tests.own.untrainable.Data", *words)
    assert outcome.code == 2 and outcome.err.startswith("error: ") and outcome.err.count("\n") == 1, outcome.err
    assert all(part in outcome.err for part in said), outcome.err
    assert list(work.iterdir()) == []


NORMED = (
    "model=own", "model._target_=tests.own.untrainable.Normed", "data=synthetic", "data.shape=[4]", "data.size=21",
)  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["batch_size=10", "accumulate=1"], "with batch_size=10 and accumulate=1 one sample is left alone"),
        (["batch_size=7", "accumulate=2"], None),
        (["batch_size=7", "accumulate=3"], "with batch_size=7 and accumulate=3 one sample is left alone"),
        (["batch_size=10", "accumulate=1", "epochs=null", "max_steps=2"], None),
    ],
)
def test_a_sample_that_is_left_alone_is_noticed_where_it_would_be_reached(
    work: Path, capsys: Any, words: list[str], said: str | None
) -> None:
    own = [word for word in TINY if not word.startswith(("model", "data", "epochs", "batch", "accumulate"))]
    outcome = cli(capsys, *own, *NORMED, "device=cpu", "epochs=1", *words, "name=x")
    if said is None:
        assert outcome.code == 0, outcome.err
    else:
        assert outcome.code == 2 and said in outcome.err and not (work / "outputs").exists(), outcome.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["learner._target_=tests.own.untrainable.Raising", "+learner.method=training"], "tests/own/untrainable.py:"),
        (["learner._target_=tests.own.untrainable.Raising", "+learner.method=evaluation"], "and no 'accuracy'"),
        (["learner._target_=tests.own.untrainable.Unsavable"], "learner_state_dict.noise is a numpy.random"),
        (
            ["learner._target_=runner.learners.Regression"],
            "the model returns shape (2,) per sample and the targets have ()",
        ),
    ],
)
def test_what_does_not_fit_is_exit_code_2_and_nothing_made(
    work: Path, capsys: Any, words: list[str], said: str
) -> None:
    outcome = started(capsys, *words)
    assert outcome.code == 2 and outcome.err.startswith("error: ") and said in outcome.err, outcome.err
    assert list(work.iterdir()) == []


def test_data_that_cannot_be_sent_to_a_worker_are_one_sentence() -> None:
    sets = [Wrong(lambda index: torch.zeros(4)) for _ in range(2)]
    train = TrainLoader(sets[0], Loading(8, workers=1), seed=0)
    val = EvaluationLoader(sets[1], Loading(8, workers=1))
    keys = {"train": (train.keyed, train.telling(epoch=0, sample=0)[0]), "val": (val.keyed, val.telling())}
    assert [batch.size for batch in tried_batches(keys, train.loading)["val"]] == [8, 4]
    former = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("spawn", force=True)
    try:
        with pytest.raises(ConfigError, match=r"cannot be sent to a worker .*lambda.*add data\.workers=0"):
            tried_batches(keys, train.loading)
    finally:
        multiprocessing.set_start_method(former, force=True)


def test_a_batch_is_tried_on_a_resume_too(work: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert started(capsys, "data._target_=tests.own.untrainable.Data", "+data.fault=fine", "epochs=1").code == 0
    monkeypatch.setattr("tests.own.untrainable.SAMPLES", {"fine": lambda index: None})
    outcome = cli(capsys, "resume=outputs/x", "epochs=2")
    assert outcome.code == 2 and " of Wrong is None" in outcome.err


def test_a_trial_that_fails_leaves_no_worker_behind() -> None:
    before, data = set(multiprocessing.active_children()), Data("missing")
    train = TrainLoader(data.train, Loading(8, workers=1), seed=0)
    keys = {"train": (train.keyed, train.telling(epoch=0, sample=0)[0])}
    with pytest.raises(ConfigError, match="sample 13 of Wrong is None") as kept:
        tried_batches(keys, train.loading)
    assert kept.value.__traceback__ and set(multiprocessing.active_children()) == before
