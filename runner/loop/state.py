"""`TrainState` is all that changes during training; its fields are the checkpoint."""

from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

from torch import nn
from torch.optim import Optimizer

from runner.data.loading import DataPosition
from runner.errors import ConfigError
from runner.optim.averaging import Average
from runner.progress import Progress
from runner.randomness import Randomness
from runner.stateful import Stateful
from runner.strategy.precision import Precision

_NAMING = "naming"  # metadata: how the objects of a dictionary field are called in the file


@dataclass
class TrainState:
    """The models by name with all that belongs to them; a field added here is a field of the file.

    One model is called "model": the file then has `model_state_dict` and `optimizer_state_dict`.
    Several have their own names: `generator_state_dict`, `generator_optimizer_state_dict`.
    """

    models: dict[str, nn.Module] = field(metadata={_NAMING: ""})
    optimizers: dict[str, Optimizer] = field(metadata={_NAMING: "optimizer"})
    schedulers: dict[str, Any] = field(metadata={_NAMING: "scheduler"})
    averages: dict[str, Average] = field(metadata={_NAMING: "ema"})
    scaler: Precision
    data: DataPosition
    rng: Randomness
    progress: Progress
    learner: Stateful | None = None
    """The learner, if it has a state."""

    def __post_init__(self) -> None:
        """Begin whole; raise ConfigError if two parts would have one name in the file."""
        self.whole = True
        """False in the midst of a step, when the parts do not belong together."""
        names = [name for name, _ in self._named()]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(f"two parts of the run are called {', '.join(twice)}; give the models other names")

    def parts(self) -> dict[str, Stateful]:
        """Return every part under the name that it has in the file."""
        return dict(self._named())

    def _named(self) -> Iterator[tuple[str, Stateful]]:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if _NAMING in entry.metadata:
                yield from ((part_name(model, entry.metadata[_NAMING]), part) for model, part in value.items())
            elif value is not None:
                assert isinstance(value, Stateful), f"{entry.name} is no part of a checkpoint"
                yield entry.name, value

    @contextmanager
    def update(self) -> Iterator[None]:
        """Mark the state as torn from entry until the step is complete."""
        self.whole = False
        yield
        self.whole = True

    def update_averages(self) -> None:
        """Let the moving averages follow the models by one step."""
        for name, average in self.averages.items():
            average.update(self.models[name])

    def learning_rate(self) -> float:
        """Return the first optimizer's current rate."""
        return float(next(iter(self.optimizers.values())).param_groups[0]["lr"])


def inference_part(model: str, parts: Container[str]) -> str:
    """Return which of a file's parts a model is used with: its moving average where there is one."""
    average = part_name(model, "ema")
    return average if average in parts else model


def part_name(model: str, kind: str) -> str:
    """Return what a model's part is called in the file."""
    if not kind:
        return model
    return kind if model == "model" else f"{model}_{kind}"
