"""Sharded checkpoints of several processes: each writes its shards, the main process the rest and the manifest."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from runner.checkpoint.format import SUFFIX
from runner.checkpoint.ranks import NAME, PARTS, Ranks
from runner.checkpoint.reader.entries import part_of
from runner.checkpoint.saving import StoreSaving
from runner.checkpoint.sharded.folder import Digests
from runner.checkpoint.sharded.manifest import digest
from runner.checkpoint.sharded.table import ENTRY, outlined
from runner.checkpoint.store import CheckpointStore
from runner.checkpoint.writer.background import Worker
from runner.checkpoint.writer.finite import non_finite
from runner.checkpoint.writer.image import Image
from runner.errors import NonFinite, RunnerError, SaveFailed
from runner.run.joint import Following, JointSaving
from runner.stateful import Held, Stateful
from runner.strategy.processes import Processes, own_part
from runner.strategy.strategies import Strategy


class ShardWriting:
    """How the processes write one sharded checkpoint together, in the background of each."""

    def __init__(self, strategy: Strategy, behind: Processes, meant: frozenset[str]) -> None:
        """`behind` are the processes as the threads that write see them.

        NaN and infinity are allowed in the tensors named by `meant` in the main process.
        """
        self._strategy, self._behind, self._meant = strategy, behind, meant
        self._copies: Mapping[str, Tensor] = {}
        self._joined = False

    def take(self, copies: Mapping[str, Tensor]) -> None:
        """Take copies of the divided tensors, by their names in the shards."""
        self._copies = copies

    def follow(self) -> None:
        """Write this process's shards, where the main process says."""
        self._add(self._behind.once(_nowhere))

    def lead(self, store: CheckpointStore, ready: Callable[[], None], entries: Mapping[str, Any], image: Image) -> None:
        """Write a checkpoint into the store once it is `ready`, while the other processes follow."""
        self._joined = False
        try:
            ready()
            store.save_sharded(entries, image, self._joining)
        except Exception as error:
            if not self._joined:
                failure = error
                self._behind.once(lambda: _raise(failure))
            raise

    def _joining(self, folder: Path) -> Digests:
        self._joined = True
        return self._add(self._behind.once(lambda: folder))

    def _add(self, folder: Path) -> Digests:
        """Write the shards; return the digests of all files in the main process.

        Raises:
            NonFinite: a tensor became NaN or infinite; no process has written.
            SaveFailed: a process could not write.
        """
        copies, self._copies = self._copies, {}  # freed once they are written
        spoilt = self._behind.gather(non_finite(copies, own_part))
        self._behind.once(lambda: _check_finite(sorted(frozenset().union(*spoilt) - self._meant)))
        files = self._strategy.write_shards(folder, copies)
        del copies
        everywhere = self._behind.gather(_digests(files))
        failures = [one for one in everywhere if isinstance(one, SaveFailed)]
        if failures:
            raise failures[0]
        return {name: found for one in everywhere if isinstance(one, dict) for name, found in one.items()}


class ShardedSaving(JointSaving):
    """Saves in all processes together, as a directory; a failed save is every process's failure."""

    def __init__(
        self, strategy: Strategy, own: StoreSaving | None, following: Following, writing: ShardWriting, worker: Worker
    ) -> None:
        """`worker` writes in the processes that have no saving of their `own`."""
        super().__init__(strategy, own, following)
        self._writing, self._worker = writing, worker

    def save(self, parts: Mapping[str, Stateful], **counters: Any) -> None:
        """Save the parts, each process its shards."""
        self._finish()
        if not self._processes.once(lambda: self._writer.begin(counters)):
            return
        everywhere = self._processes.gather({name: parts[name].state_dict() for name in PARTS if name in parts})
        states, pairs = self._strategy.stand_ins({f"{name}{SUFFIX}": part.state_dict() for name, part in parts.items()})
        outline, table, divided = outlined(states, {id(stand_in) for stand_in, _ in pairs})
        copies = dict(zip((id(stand_in) for stand_in, _ in pairs), self._strategy.copied(pairs), strict=True))
        self._writing.take({name: copies[id(stand_in)] for name, stand_in in divided.items()})
        whole = {part_of(name): Held(state) for name, state in outline.items()}
        self._processes.once(
            lambda: self._writer.take({**whole, NAME: Ranks(everywhere)}, counters, further={ENTRY: table})
        )
        self._start()

    def _start(self) -> None:
        """Start to write in all processes; what the main process raises at once, all raise."""
        if self._own is None:
            self._worker.start(self._follow)
            self._processes.once(_nothing)
            return
        failure: Exception | None = None
        try:
            self._own.start()
        except Exception as error:
            failure = error
        self._processes.once(lambda: _raise(failure))

    def settle(self) -> None:
        """Return once the checkpoint is on disk, or raise why the main process has not written it."""
        self._finish()
        super().settle()

    def settle_alone(self) -> None:
        """Return once this process has written what it has begun, or raise why it has not."""
        self._finish()
        super().settle_alone()

    def _finish(self) -> None:
        self._worker.settle()

    def _follow(self) -> None:
        with suppress(RunnerError):  # the main process knows it, too, and decides
            self._writing.follow()


def _check_finite(spoilt: list[str]) -> None:
    if spoilt:
        raise NonFinite(
            f"{spoilt[0]} became NaN or infinite and was not saved; go on from the last good checkpoint, or start "
            "again, with a smaller optimizer.lr or clip_norm=1"
        )


def _digests(files: list[Path]) -> Digests | SaveFailed:
    try:
        return {path.name: digest(path) for path in files}
    except OSError as error:
        return SaveFailed(f"{error.filename} could not be read back: {error.strerror or error}")


def _raise(failure: Exception | None) -> None:
    if failure is not None:
        raise failure


def _nothing() -> None:
    """Stand for what only the main process makes."""


def _nowhere() -> Path:
    raise AssertionError("only the main process knows the folder")
