"""`Progress` holds every counter of a run."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from torch import Tensor

from runner.errors import NonFinite

_WAY_OUT = "go on from the last good checkpoint, or start again, with a smaller optimizer.lr or clip_norm=1"

Names = str | tuple[str, ...]
"""A model that is updated, or several that one loss updates together."""

Seen = tuple[Mapping[str, Tensor], float]
"""A learner's figures for a micro-batch, detached scalars by name, and its share of the step's samples."""

Total = Callable[[Mapping[str, Tensor | float]], Mapping[str, Tensor | float]]
"""Returns the sums of figures over all processes; each process holds its own part of them."""


def of_one_process(figures: Mapping[str, Tensor | float]) -> Mapping[str, Tensor | float]:
    """Return the figures: their sums over the only process."""
    return figures


@dataclass
class Progress:
    """The position of training, at a boundary between two optimizer steps."""

    epoch: int = 0
    """Finished epochs."""
    global_step: int = 0
    """Optimizer steps done."""
    step_in_epoch: int = 0
    evaluated_at: int = 0
    """The step of the latest finished evaluation; a resume repeats an interrupted one."""
    reported_at: int = 0
    best_metric: float | None = None
    best_step: int | None = None
    improved_metric: float | None = None
    """The latest metric that was better than its predecessor here by `early_stopping.min_delta`."""
    evaluations_without_improvement: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    """For each model, how many updates in a row were skipped."""
    recent_losses: dict[str, list[float]] = field(default_factory=dict)
    """For each model, the losses of the latest updates that were applied, with `on_spike`."""
    rollbacks: int = 0
    """How often training rolled back to a checkpoint and continued with another order of the data."""
    accumulate: int = 1
    """The micro-batches of each step, at least, since memory ran out with `micro_batch_size=auto`."""
    counts: dict[str, int] = field(default_factory=dict)
    """The training samples, and the tokens if the run counts them, seen since its start."""
    seconds: float = 0.0
    """Time spent in training, over all attempts."""
    metrics: dict[str, float] = field(default_factory=dict)
    """The metrics measured at `evaluated_at`."""
    window: dict[str, Tensor] = field(default_factory=dict)
    """Sums of this process's part of the training metrics since the latest report, each a scalar tensor."""
    window_counts: dict[str, int] = field(default_factory=dict)
    """The number of updates in each sum."""
    loss: Tensor | float = 0.0
    """This process's part of the latest step's training loss, summed over the updated models."""

    def observe(self, names: Names, seen: Iterable[Seen]) -> None:
        """Count an update, from the figures and the share of each micro-batch.

        Figures have their model's name as a prefix, unless it is "model", or the update is of several.
        """
        prefix = f"{names}_" if isinstance(names, str) and names != "model" else ""
        summed = set()
        for values, share in seen:
            for metric, value in values.items():
                part = value if share == 1.0 else value * share
                key = f"{prefix}{metric}"
                summed.add(key)
                self.window[key] = self.window[key] + part if key in self.window else part.clone()
                if metric == "loss":
                    self.loss = self.loss + part
        self.window_counts.update({key: self.window_counts.get(key, 0) + 1 for key in summed})
        self.skipped[joined(names)] = 0

    def skip(self, names: Names, limit: int) -> None:
        """Count a skipped update; raise NonFinite after more than `limit` in a row."""
        name = joined(names)
        self.skipped[name] = self.skipped.get(name, 0) + 1
        if self.skipped[name] > limit:
            raise NonFinite(
                f"{self.skipped[name]} updates of the {name} in a row, up to step {self.global_step + 1}, "
                f"had a spike of the loss or were not finite; {_WAY_OUT}"
            )

    def begin_step(self) -> None:
        """Forget the former step's loss."""
        self.loss = 0.0

    def advance(self, epoch_ended: bool) -> None:
        """Count one optimizer step."""
        self.global_step += 1
        self.step_in_epoch = 0 if epoch_ended else self.step_in_epoch + 1
        self.epoch += int(epoch_ended)

    def window_means(self, total: Total = of_one_process) -> dict[str, float]:
        """Return the means over the updates since the latest report."""
        return {f"train/{name}": float(value) / self.window_counts[name] for name, value in total(self.window).items()}

    def take_window(self, total: Total = of_one_process) -> dict[str, float]:
        """Return the means over the updates since the latest report, and start a new window."""
        means = self.window_means(total)
        self.window, self.window_counts, self.reported_at = {}, {}, self.global_step
        return means

    def measured_here(self) -> dict[str, float]:
        """Return the metrics measured at exactly this step, if any."""
        return dict(self.metrics) if self.evaluated_at == self.global_step else {}

    def check_finite(self, total: Total = of_one_process) -> None:
        """Raise NonFinite if the latest loss, or any since the latest report, was NaN or infinite."""
        losses = {name: value for name, value in self.window.items() if name.endswith("loss")}
        for name, value in total({"loss": self.loss, **losses}).items():
            if not math.isfinite(float(value)):
                raise NonFinite(
                    f"the {name} became {float(value)} by step {self.global_step} and was not saved; {_WAY_OUT}"
                )

    def state_dict(self) -> dict[str, Any]:
        """Return all fields."""
        return asdict(self)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore all fields; ValueError names those that are missing, unknown or of the wrong type."""
        kinds = get_type_hints(Progress)
        of_older_files: dict[str, Any] = {
            "improved_metric": state_dict.get("best_metric"),
            "counts": {},
            "recent_losses": {},
            "accumulate": 1,
        }
        state_dict = {**of_older_files, **state_dict}
        if kinds.keys() != state_dict.keys():
            raise ValueError(f"its counters differ: {sorted(map(str, kinds.keys() ^ state_dict.keys()))}")
        if odd := [name for name, value in state_dict.items() if not _is_a(value, kinds[name])]:
            raise ValueError(f"its counter {odd[0]} is not a {kinds[odd[0]]}")
        for name, value in state_dict.items():
            setattr(self, name, dict(value) if isinstance(value, dict) else value)


def each(names: Names) -> tuple[str, ...]:
    """Return the models of an update."""
    return (names,) if isinstance(names, str) else names


def joined(names: Names) -> str:
    """Return the name of a model, or of several that are updated together, for messages and counters."""
    return names if isinstance(names, str) else ", ".join(names)


def _is_a(value: Any, kind: Any) -> bool:
    """Return whether a value from a file is valid for a field of this type; counts are not negative."""
    if get_origin(kind) is UnionType:
        return any(_is_a(value, option) for option in get_args(kind))
    if get_origin(kind) is dict:
        return type(value) is dict and all(type(k) is str and _is_a(v, get_args(kind)[1]) for k, v in value.items())
    if get_origin(kind) is list:
        return type(value) is list and all(_is_a(one, get_args(kind)[0]) for one in value)
    if kind is Tensor:
        return isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex()
    return type(value) is kind and (kind is not int or 0 <= value < 2**63)
