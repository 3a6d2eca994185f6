"""When schedulers move: after each step, after each epoch, or by what an evaluation says."""

import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Pacing:
    """Which schedulers, by the name of their model, do not simply move after each step."""

    by_evaluation: frozenset[str] = frozenset()
    warming_up: frozenset[str] = frozenset()
    """Those by evaluation that count the steps as well, for a warm-up."""
    by_epoch: frozenset[str] = frozenset()

    def after_step(self, schedulers: Mapping[str, Any], *, step: int, epoch_ended: bool) -> None:
        """Move those that count steps, or the epoch that has just ended; `step` is the one just done."""
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
        """Let those decide that wait for the monitored metric."""
        for name, scheduler in schedulers.items():
            if name in self.by_evaluation:
                scheduler.step(value)
