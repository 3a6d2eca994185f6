"""`Saving` is the loop's interface to checkpoints: whether one is due, and writing it."""

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from torch import Tensor

from runner.checkpoint.format import compose_entries
from runner.checkpoint.policies import Boundary, Request, Trigger
from runner.checkpoint.store import CheckpointStore
from runner.checkpoint.writer.background import Worker
from runner.checkpoint.writer.finite import non_finite
from runner.checkpoint.writer.image import Image
from runner.checkpoint.writer.pickling import identity
from runner.errors import NonFinite, SaveFailed
from runner.stateful import Stateful

log = logging.getLogger("runner")


Write = Callable[[CheckpointStore, Callable[[], None], Mapping[str, Any], Image], None]
"""Puts a state into the store, once the function that it is given has found the state ready; raises like `save`."""


class Saving(Protocol):
    """What the loop knows about checkpoints."""

    def due(self, *, step: int, epoch: int, step_in_epoch: int, improved: bool) -> bool:
        """Return whether a checkpoint is wanted at this boundary."""

    def asked(self) -> bool:
        """Return whether there is a request for a checkpoint, of the clock or of the user."""

    def save(self, parts: Mapping[str, Stateful], **counters: Any) -> None:
        """Copy the present state; it is on disk at the latest when `settle` returns."""

    def settle(self) -> None:
        """Return once every copied state is on disk, or raise why the latest is not."""


class NoSaving:
    """`checkpoint=off`: writes nothing."""

    def due(self, *, step: int, epoch: int, step_in_epoch: int, improved: bool) -> bool:
        """Return False."""
        return False

    def asked(self) -> bool:
        """Return False."""
        return False

    def save(self, parts: Mapping[str, Stateful], **counters: Any) -> None:
        """Do nothing."""

    def settle(self) -> None:
        """Return."""


@dataclass
class Tolerance:
    """Up to `limit` failed saves in a row are only warnings; the latest failure is kept."""

    limit: int
    failures: int = field(default=0, init=False)
    latest: SaveFailed | None = field(default=None, init=False)

    def attempt(self, write: Callable[[], object]) -> None:
        """Write; raise SaveFailed after more than `limit` failures in a row."""
        try:
            write()
        except SaveFailed as error:
            self.failures, self.latest = self.failures + 1, error
            if self.failures > self.limit:
                raise
            log.warning("%s; training goes on (failure %d of at most %d in a row)", error, self.failures, self.limit)
        else:
            self.failures, self.latest = 0, None


class StoreSaving:
    """Saves into a store when a trigger fires; the training thread only copies the state."""

    def __init__(
        self,
        store: CheckpointStore,
        triggers: Sequence[Trigger],
        description: Mapping[str, Any],
        *,
        requests: Sequence[Request] = (),
        worker: Worker,
        tolerance: Tolerance,
        meant: Collection[str] = (),
        before: Callable[[], object] = lambda: None,
        after: Callable[[], object] = lambda: None,
        write: Write | None = None,
    ) -> None:
        """Add `description` to each checkpoint; `worker` calls `before`, writes, and then calls `after`.

        NaN and infinity are allowed in the tensors named by `meant`, such as a mask. `write` puts a checkpoint into
        the store in another form than as one file.
        """
        self._store = store
        self._worker = worker
        self._tolerance = tolerance
        self._before, self._after, self._put = before, after, write or _as_file
        self._meant = frozenset(meant)
        self._triggers, self._requests = tuple(triggers), tuple(requests)
        self._description = dict(description)
        self._image = Image()
        self._taken: tuple[Mapping[str, Any], Mapping[str, Any]] = {}, {}
        self._safe: Mapping[str, Any] | None = None
        """The counters of the latest written checkpoint."""
        self._saved_at = time.monotonic()

    def due(self, *, step: int, epoch: int, step_in_epoch: int, improved: bool) -> bool:
        """Return whether any trigger wants a checkpoint at this boundary."""
        boundary = Boundary(step, epoch, step_in_epoch, improved)
        return any(trigger.due(boundary) for trigger in self._triggers)

    def asked(self) -> bool:
        """Return whether there is a request for a checkpoint."""
        minutes = (time.monotonic() - self._saved_at) / 60
        return any(request.due(minutes) for request in self._requests)

    def save(self, parts: Mapping[str, Stateful], **counters: Any) -> None:
        """Copy the parts' states with `counters` (epoch, global_step, loss, metrics), once the former save is written.

        A save with the same counters as the latest written one does nothing.

        Raises:
            NonFinite: a tensor became NaN or infinite; nothing is written.
            SaveFailed: more writes failed in a row than are tolerated; all earlier files are unchanged.
                Both may belong to the former save.
        """
        if self.begin(counters):
            self.take(parts, counters)
            self.start()

    def begin(self, counters: Mapping[str, Any]) -> bool:
        """Return whether a checkpoint with these counters is missing, once the former save is written; raise like it.

        With `take` and `start`, this is `save` in three steps, between which other processes bring their shards.
        """
        self._worker.settle()
        return counters != self._safe

    def take(
        self,
        parts: Mapping[str, Stateful],
        counters: Mapping[str, Any],
        absent: Sequence[Tensor] = (),
        further: Mapping[str, Any] | None = None,
    ) -> None:
        """Copy the parts' states, with `further` entries.

        Those of `absent` tensors come later, into the memory that `place` returns.
        """
        created = datetime.now(UTC).isoformat(timespec="seconds")
        entries = compose_entries(parts, {**counters, **self._description, "created": created, **(further or {})})
        self._image.take(entries, {identity(tensor.untyped_storage()) for tensor in absent})
        self._taken = entries, counters
        self._saved_at = time.monotonic()

    def place(self, absent: Tensor) -> Tensor:
        """Return the memory of a tensor whose bytes are not taken yet."""
        return self._image.tensor(absent)

    def start(self) -> None:
        """Begin to write what was taken."""
        entries, counters = self._taken
        self._worker.start(lambda: self._write(entries, counters))

    def settle(self) -> None:
        """Return once the latest checkpoint is on disk; raise why it is not, even if that was tolerated."""
        try:
            self._worker.settle()
        finally:
            failure, self._tolerance.latest = self._tolerance.latest, None
        if failure is not None:
            raise failure

    def _write(self, entries: Mapping[str, Any], counters: Mapping[str, Any]) -> None:
        self._tolerance.attempt(lambda: self._put(self._store, lambda: self._check(entries), entries, self._image))
        if not self._tolerance.failures:
            self._safe = counters
            self._after()

    def _check(self, entries: Mapping[str, Any]) -> None:
        """Raise NonFinite if the state that was taken must not be written."""
        self._image.wait()
        if spoilt := sorted(non_finite(entries, self._image.tensor) - self._meant):
            raise NonFinite(
                f"{spoilt[0]} became NaN or infinite by step {entries['global_step']} and was not saved; "
                "go on from the last good checkpoint, or start again, with a smaller optimizer.lr or clip_norm=1"
            )
        self._before()


def _as_file(store: CheckpointStore, ready: Callable[[], None], entries: Mapping[str, Any], image: Image) -> None:
    ready()
    store.save(entries, image)
