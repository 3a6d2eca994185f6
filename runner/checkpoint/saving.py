"""`Saving` is the loop's one line about checkpoints: when one is due, and that it is written."""

import time
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from runner.checkpoint.finite import non_finite
from runner.checkpoint.format import compose_entries
from runner.checkpoint.policies import Boundary, Trigger
from runner.checkpoint.store import CheckpointStore
from runner.errors import NonFinite
from runner.stateful import Stateful


class Saving(Protocol):
    """What the loop knows of checkpoints."""

    def due(self, *, step: int, epoch: int, epoch_ended: bool, improved: bool) -> bool:
        """Return whether a checkpoint is wanted at this boundary."""

    def save(self, parts: Mapping[str, Stateful], **counters: Any) -> Path | None:
        """Write one and return its path once it is safe."""


class NoSaving:
    """`checkpoint=off`: writes nothing, and says so by returning None."""

    def due(self, *, step: int, epoch: int, epoch_ended: bool, improved: bool) -> bool:
        """Return False."""
        return False

    def save(self, parts: Mapping[str, Stateful], **counters: Any) -> Path | None:
        """Write nothing."""
        return None


class StoreSaving:
    """Saves into a store when one of the triggers says so."""

    def __init__(
        self,
        store: CheckpointStore,
        triggers: Sequence[Trigger],
        description: Mapping[str, Any],
        *,
        meant: Collection[str] = (),
    ) -> None:
        """Save what `description` describes; NaN and infinity are `meant` in these tensors, a mask for example."""
        self._store = store
        self._meant = frozenset(meant)
        self._triggers = tuple(triggers)
        self._description = dict(description)
        self._saved_at = time.monotonic()

    def due(self, *, step: int, epoch: int, epoch_ended: bool, improved: bool) -> bool:
        """Return whether any trigger wants a checkpoint at this boundary."""
        minutes = (time.monotonic() - self._saved_at) / 60
        boundary = Boundary(step, epoch, epoch_ended, improved, minutes)
        return any(trigger.due(boundary) for trigger in self._triggers)

    def save(self, parts: Mapping[str, Stateful], **counters: Any) -> Path | None:
        """Write the parts' states with `counters` (epoch, global_step, loss, metrics); return the safe file.

        Raises:
            NonFinite: a tensor became NaN or infinite; nothing was written.
            SaveFailed: it could not be written; all earlier files are as they were.
        """
        created = datetime.now(UTC).isoformat(timespec="seconds")
        entries = compose_entries(parts, {**counters, **self._description, "created": created})
        if spoilt := sorted(non_finite(entries) - self._meant):
            raise NonFinite(
                f"{spoilt[0]} became NaN or infinite by step {entries['global_step']}; nothing of it was saved, the "
                "last good checkpoint stands: resume from it with a smaller optimizer.lr, or with clip_norm=1"
            )
        path = self._store.save(entries)
        self._saved_at = time.monotonic()
        return path
