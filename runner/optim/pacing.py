"""When schedulers advance: after each step, each epoch, or each evaluation."""

import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Pacing:
    """The schedulers, by model name, that do not simply advance after each step."""

    by_evaluation: frozenset[str] = frozenset()
    warming_up: frozenset[str] = frozenset()
    """Those of `by_evaluation` that also count steps, for a warm-up."""
    by_epoch: frozenset[str] = frozenset()

    def after_step(self, schedulers: Mapping[str, Any], *, step: int, epoch_ended: bool) -> None:
        """Advance the schedulers that count steps, or epochs if one has ended; `step` is the step just done."""
        for name, scheduler in schedulers.items():
            if name in self.warming_up:
                scheduler.advance()
            if name in self.by_evaluation or (name in self.by_epoch and not epoch_ended):
                continue
            with warnings.catch_warnings() if step == 1 else nullcontext():
                # A skipped update, fp16's first for one, is not a misordered call.
                warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
                scheduler.step()

    def after_evaluation(self, schedulers: Mapping[str, Any], value: float) -> None:
        """Advance the schedulers that follow the monitored metric."""
        for name, scheduler in schedulers.items():
            if name in self.by_evaluation:
                scheduler.step(value)
