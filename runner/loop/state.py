"""`TrainState` holds all that changes during training; its fields are the checkpoint."""

import math
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

from torch import nn
from torch.optim import Optimizer

from runner.checkpoint.policies import Mode, is_better
from runner.data.loaders.batches import Batch
from runner.data.sources import Position
from runner.errors import ConfigError
from runner.learners import Learner
from runner.loop.answers import tokens_of
from runner.optim.averaging import Average
from runner.optim.pacing import Pacing
from runner.optim.together import Together
from runner.progress import Names, Progress, Total
from runner.randomness import Randomness
from runner.stateful import Stateful
from runner.strategy.precision import Precision

_NAMING = "naming"  # metadata: the name in the file of a dictionary field's objects


@dataclass
class TrainState:
    """The models by name with all their state; a field added here is added to the file.

    A single model is named "model": the file has `model_state_dict` and `optimizer_state_dict`.
    Several keep their names: `generator_state_dict`, `generator_optimizer_state_dict`.
    """

    models: dict[str, nn.Module] = field(metadata={_NAMING: ""})
    optimizers: dict[str, Optimizer] = field(metadata={_NAMING: "optimizer"})
    schedulers: dict[str, Any] = field(metadata={_NAMING: "scheduler"})
    averages: dict[str, Average] = field(metadata={_NAMING: "ema"})
    scaler: Precision
    data: Position
    rng: Randomness
    progress: Progress
    learner: Stateful | None = None
    """The learner, if it has a state."""

    def __post_init__(self) -> None:
        """Raise ConfigError if two parts would have the same name in the file."""
        self.whole = True
        """False during a step, when the parts are inconsistent."""
        self._built = {name: (dict(model.named_parameters()), _buffers(model)) for name, model in self.models.items()}
        names = [name for name, _ in self._named()]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(f"two parts of the run are named {', '.join(twice)}; rename the models")

    def modules(self) -> list[nn.Module]:
        """Return the models and their moving averages."""
        return [*self.models.values(), *self.averaged().values()]

    def averaged(self) -> dict[str, nn.Module]:
        """Return the models with averaged weights by name."""
        return {name: average.model for name, average in self.averages.items()}

    def parts(self) -> dict[str, Stateful]:
        """Return every part by its name in the file."""
        return dict(self._named())

    def _named(self) -> Iterator[tuple[str, Stateful]]:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if _NAMING in entry.metadata:
                yield from ((part_name(model, entry.metadata[_NAMING]), part) for model, part in value.items())
            elif value is not None:
                assert isinstance(value, Stateful), f"{entry.name} is no part of a checkpoint"
                yield entry.name, value

    def check_models(self) -> None:
        """Raise ConfigError if training changed a model in a way that no resume could restore.

        A buffer may be filled or reshaped; names and parameters must stay as built.
        """
        for name, (parameters, buffers) in self._built.items():
            now, now_buffers = dict(self.models[name].named_parameters()), _buffers(self.models[name])
            for key, parameter in parameters.items():
                if now.get(key) is not parameter:
                    raise ConfigError(
                        f"the {name}'s {key} was replaced by another parameter during training, which the optimizer "
                        "does not train; change its values in place"
                    )
            if new := [key for key in now if key not in parameters]:
                raise ConfigError(
                    f"the {name}'s {new[0]} is a parameter created during training, so no optimizer trains it; "
                    "create it in the constructor"
                )
            if new := [key for key in now_buffers if key not in buffers]:
                raise ConfigError(
                    f"the {name}'s {new[0]} is a buffer created during training, so no resume could restore it; "
                    "register it in the constructor, as None if it has no value yet"
                )
            if gone := [key for key, filled in buffers.items() if filled and not now_buffers.get(key)]:
                raise ConfigError(
                    f"the {name}'s {gone[0]} was removed during training, so no resume could restore it; keep it"
                )

    def optimizer_of(self, names: Names) -> Optimizer:
        """Return the optimizer of a model, or one of several models that are updated together."""
        return self.optimizers[names] if isinstance(names, str) else Together(self.optimizers[name] for name in names)

    @contextmanager
    def update(self) -> Iterator[None]:
        """Mark the state as inconsistent until the step is complete."""
        self.whole = False
        yield
        self.whole = True

    def count(self, batch: Batch, learner: Learner, total: Total) -> None:
        """Count a step's samples and tokens, if they were counted from the run's start, in all processes."""
        counts = self.progress.counts
        if "samples" in counts:
            counts["samples"] += batch.size
        if "tokens" in counts:
            counts["tokens"] += int(total({"tokens": tokens_of(learner, batch)})["tokens"])

    def step_schedulers(self, pacing: Pacing) -> None:
        """Advance the schedulers after a step."""
        progress = self.progress
        pacing.after_step(self.schedulers, step=progress.global_step, epoch_ended=progress.step_in_epoch == 0)

    def record(self, metrics: Mapping[str, float], monitor: str, mode: Mode, min_delta: float) -> None:
        """Record an evaluation's metrics at this step, whether it is the best so far, and better by `min_delta`."""
        progress, value = self.progress, metrics.get(monitor, math.nan)  # no update since the latest report, perhaps
        progress.metrics, progress.evaluated_at = dict(metrics), progress.global_step
        if is_better(mode, value, progress.best_metric):
            progress.best_metric, progress.best_step = value, progress.global_step
        if is_better(mode, value + (min_delta if mode is Mode.min else -min_delta), progress.improved_metric):
            progress.improved_metric, progress.evaluations_without_improvement = value, 0
        else:
            progress.evaluations_without_improvement += 1

    def update_averages(self) -> None:
        """Move the moving averages by one step."""
        for name, average in self.averages.items():
            average.update(self.models[name])

    def learning_rate(self) -> float:
        """Return the current rate of the first optimizer's first group."""
        return self.learning_rates()["lr"]

    def learning_rates(self) -> dict[str, float]:
        """Return the current rates: the first optimizer's, and those of each that has another, as `lr/NAME`.

        Groups with other base rates than an optimizer's first are `lr/1`..., `lr/NAME/1`...
        """
        first, *others = ((name, _rates(optimizer)) for name, optimizer in self.optimizers.items())
        columns = {"lr": first[1]} | {f"lr/{name}": own for name, own in others if not own.items() <= first[1].items()}
        return {
            f"{column}/{number}" if number else column: rate
            for column, rates in columns.items()
            for number, rate in enumerate(rates.values())
        }


def _rates(optimizer: Optimizer) -> dict[float, float]:
    """Return an optimizer's current rates by their base rates."""
    rates: dict[float, float] = {}
    for group in optimizer.param_groups:
        rates.setdefault(float(group.get("initial_lr", group["lr"])), float(group["lr"]))
    return rates


def _buffers(model: nn.Module) -> dict[str, bool]:
    """Return for each persistent buffer, by name, whether it is not None."""
    return {
        f"{place}.{key}".lstrip("."): buffer is not None
        for place, module in model.named_modules()
        for key, buffer in module._buffers.items()
        if key not in module._non_persistent_buffers_set
    }


def inference_part(model: str, parts: Container[str]) -> str:
    """Return the part of a file to evaluate a model with: its moving average if there is one."""
    average = part_name(model, "ema")
    return average if average in parts else model


def part_name(model: str, kind: str) -> str:
    """Return the name of a model's part in the file."""
    if not kind:
        return model
    return kind if model == "model" else f"{model}_{kind}"
