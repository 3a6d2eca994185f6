"""When a run stops before its length is reached."""

from dataclasses import dataclass

from runner.checkpoint.policies import Mode
from runner.progress import Progress


@dataclass(frozen=True)
class EarlyStopping:
    """Stops a run when the monitored metric no longer improves, or is good enough."""

    monitor: str
    mode: Mode
    patience: int | None
    """Evaluations in a row without an improvement that counts; None for any number."""
    min_epochs: int
    threshold: float | None

    def due(self, progress: Progress) -> bool:
        """Return whether the run stops early at this boundary."""
        if progress.epoch < self.min_epochs:
            return False
        late = self.patience is not None and progress.evaluations_without_improvement >= self.patience
        return late or self._reached(progress.metrics.get(self.monitor))

    def _reached(self, value: float | None) -> bool:
        if self.threshold is None or value is None:
            return False
        return value <= self.threshold if self.mode is Mode.min else value >= self.threshold
