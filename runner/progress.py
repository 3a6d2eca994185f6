"""`Progress` is every counter of a run; nothing that counts lives anywhere else."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from torch import Tensor

from runner.errors import NonFinite

_WAY_OUT = (
    "go on from the last good checkpoint, if there is one, or start anew, with a smaller optimizer.lr or clip_norm=1"
)

Seen = tuple[Mapping[str, Tensor], float]
"""What a learner said of a micro-batch, detached scalars by name, and its share of the step's samples."""


@dataclass
class Progress:
    """Where training stands, at a boundary between two optimizer steps."""

    epoch: int = 0
    """Finished epochs."""
    global_step: int = 0
    """Optimizer steps done."""
    step_in_epoch: int = 0
    evaluated_at: int = 0
    """The step of the latest finished evaluation; an interrupted one is made up for on resume."""
    reported_at: int = 0
    best_metric: float | None = None
    best_step: int | None = None
    evaluations_without_improvement: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    """Updates of a model in a row that were left out, because they were not finite."""
    rollbacks: int = 0
    """How often training went back to a checkpoint, and took another order of the data from there."""
    seconds: float = 0.0
    """Time spent in training, over all attempts."""
    metrics: dict[str, float] = field(default_factory=dict)
    """What was measured at `evaluated_at`."""
    window: dict[str, Tensor] = field(default_factory=dict)
    """Sums of the training metrics since the latest report, each a scalar tensor."""
    window_counts: dict[str, int] = field(default_factory=dict)
    """Of how many updates each is the sum."""
    loss: Tensor | float = 0.0
    """The latest step's training loss, summed over the updated models."""

    def observe(self, name: str, seen: Iterable[Seen]) -> None:
        """Count an update of model `name`: what the learner said of each micro-batch, and its share of the step."""
        prefix = "" if name == "model" else f"{name}_"
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
        self.skipped[name] = 0

    def skip(self, name: str, limit: int) -> None:
        """Count an update of model `name` that was left out; raise NonFinite if more than `limit` in a row were."""
        self.skipped[name] = self.skipped.get(name, 0) + 1
        if self.skipped[name] > limit:
            raise NonFinite(
                f"{self.skipped[name]} updates of the {name} in a row, up to step {self.global_step + 1}, were not "
                f"finite; {_WAY_OUT}"
            )

    def begin_step(self) -> None:
        """Forget the former step's loss."""
        self.loss = 0.0

    def advance(self, epoch_ended: bool) -> None:
        """Count one optimizer step."""
        self.global_step += 1
        self.step_in_epoch = 0 if epoch_ended else self.step_in_epoch + 1
        self.epoch += int(epoch_ended)

    def take_window(self) -> dict[str, float]:
        """Return the means over the updates since the latest report, and begin a new window."""
        means = {f"train/{name}": float(total) / self.window_counts[name] for name, total in self.window.items()}
        self.window, self.window_counts, self.reported_at = {}, {}, self.global_step
        return means

    def measured_here(self) -> dict[str, float]:
        """Return what was measured at exactly this step."""
        return dict(self.metrics) if self.evaluated_at == self.global_step else {}

    def check_finite(self) -> None:
        """Raise NonFinite if the latest loss, or any since the latest report, was NaN or infinite."""
        losses = {name: value for name, value in self.window.items() if name.endswith("loss")}
        for name, value in {"loss": self.loss, **losses}.items():
            if not math.isfinite(float(value)):
                raise NonFinite(
                    f"the {name} became {float(value)} by step {self.global_step}, and nothing of it was saved; "
                    f"{_WAY_OUT}"
                )

    def state_dict(self) -> dict[str, Any]:
        """Return all fields."""
        return asdict(self)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take all fields back; ValueError names those that are missing, unknown or of another kind."""
        kinds = get_type_hints(Progress)
        if kinds.keys() != state_dict.keys():
            raise ValueError(f"its counters differ: {sorted(map(str, kinds.keys() ^ state_dict.keys()))}")
        if odd := [name for name, value in state_dict.items() if not _is_a(value, kinds[name])]:
            raise ValueError(f"its counter {odd[0]} is no {kinds[odd[0]]}")
        for name, value in state_dict.items():
            setattr(self, name, dict(value) if isinstance(value, dict) else value)


def _is_a(value: Any, kind: Any) -> bool:
    """Return whether a value that comes out of a file may stand in a field of this kind; counts are not negative."""
    if get_origin(kind) is UnionType:
        return any(_is_a(value, option) for option in get_args(kind))
    if get_origin(kind) is dict:
        return type(value) is dict and all(type(k) is str and _is_a(v, get_args(kind)[1]) for k, v in value.items())
    if kind is Tensor:
        return isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex()
    return type(value) is kind and (kind is not int or 0 <= value < 2**63)
