"""What the wiring makes of a config: the length in steps, and parts with names of their own."""

from typing import Any

import pytest
import torch
from torch import nn

from runner.data.loaders.loading import DataPosition, Loading, TrainLoader
from runner.errors import ConfigError
from runner.loop.state import TrainState
from runner.progress import Progress
from runner.randomness import Randomness
from runner.strategy.precision import Precision
from runner.wiring.build.loaders import Position, horizon_of
from tests.support.command_line import config_of


def loader(batch_size: int) -> TrainLoader:
    """Return a loader of 20 samples."""
    return TrainLoader(list(range(20)), Loading(batch_size, workers=0), seed=0)


def length(batch_size: int, at: Position, **limits: Any) -> int | None:
    """Return the run's length in steps."""
    words = (f"{key}={value}" for key, value in {"epochs": "null", **limits}.items())
    return horizon_of(config_of(*words), loader(batch_size), at).total_steps


@pytest.mark.parametrize(
    "at", [Position(), Position(1, 0, 8), Position(3, 1, 0), Position(5, 1, 16), Position(9, 3, 0)]
)
def test_the_length_of_an_unchanged_run_is_the_same_from_everywhere(at: Position) -> None:
    assert length(8, at, epochs=3) == 9


@pytest.mark.parametrize(
    ("at", "expected"), [(Position(3, 1, 0), 3 + 2 * 5), (Position(4, 1, 8), 4 + 3 + 5), (Position(9, 3, 0), 9)]
)
def test_with_another_batch_size_the_epochs_that_are_left_are_counted(at: Position, expected: int) -> None:
    assert length(4, at, epochs=3) == expected


def test_the_first_limit_counts_and_there_must_be_one() -> None:
    assert length(8, Position(), epochs=3, max_steps=4) == 4
    assert length(8, Position(), max_time="1h") is None
    with pytest.raises(ConfigError, match="no end"):
        length(8, Position())


@pytest.mark.parametrize("name", ["data", "rng", "progress", "scaler"])
def test_a_model_may_not_have_the_name_of_another_part(name: str) -> None:
    with pytest.raises(ConfigError, match=f"named {name}"):
        TrainState(
            models={name: nn.Linear(1, 1)},
            optimizers={},
            schedulers={},
            averages={},
            scaler=Precision("fp32", torch.device("cpu")),
            data=DataPosition(1, 1),
            rng=Randomness(),
            progress=Progress(),
        )
