"""TensorBoard event files, without ghost steps after a resume."""

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any


class TensorBoardTracker:
    """Writes scalars and hyperparameters as TensorBoard event files under `tensorboard/`.

    The first log opens them, since importing TensorBoard is slow.
    """

    def __init__(
        self,
        directory: Path,
        *,
        first_step: int,
        hparams: Mapping[str, str | int | float | bool],
        measured: Sequence[str],
    ) -> None:
        """Write into a run directory; `measured` names metrics that come after the first log."""
        self._directory = directory / "tensorboard"
        self._first_step = first_step
        self._hparams = dict(hparams)
        self._measured = measured

    @cached_property
    def _writer(self) -> Any:
        from torch.utils.tensorboard import SummaryWriter

        purge = self._first_step + 1 if self._event_files() else None
        return SummaryWriter(str(self._directory), purge_step=purge)

    def log(self, step: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Add a scalar for each metric; the first log of the first attempt also adds the hyperparameters."""
        if "_writer" not in vars(self) and not self._event_files():
            self._log_hparams(metrics)
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def _log_hparams(self, metrics: Mapping[str, float]) -> None:
        from torch.utils.tensorboard.summary import hparams

        for summary in hparams(self._hparams, dict.fromkeys((*metrics, *self._measured), 0.0)):  # type: ignore[no-untyped-call]
            self._writer.file_writer.add_summary(summary)

    def flush(self) -> None:
        """Force what was logged to the disk."""
        if "_writer" not in vars(self):
            return
        self._writer.flush()
        for path in self._event_files():
            with open(path, "rb") as file:
                os.fsync(file.fileno())

    def _event_files(self) -> list[Path]:
        return sorted(self._directory.glob("events.out.tfevents.*"))

    def close(self) -> None:
        """Close the event file."""
        if "_writer" in vars(self):
            self._writer.close()
