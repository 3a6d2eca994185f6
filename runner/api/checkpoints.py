"""`runner.Checkpoints`: people's own loops save and restore as a run does."""

import logging
import os
import platform
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from runner.checkpoint.best import standing
from runner.checkpoint.format import SUFFIX, read_entries, restore
from runner.checkpoint.listing import BEST, LAST, newest_valid, pointer_in, run_directory_of, step_files
from runner.checkpoint.policies import Mode, retentions
from runner.checkpoint.saving import StoreSaving, Tolerance
from runner.checkpoint.store import CheckpointStore
from runner.checkpoint.writer.background import AtOnce, Background
from runner.errors import CheckpointDamaged, ConfigError, NameTaken, RunInUse
from runner.files import Disk, make_directory
from runner.places import local_path
from runner.randomness import Randomness, cuda_in_use
from runner.run_directory.ownership import Ownership, Tenure, owner_of
from runner.stateful import Held, Stateful
from runner.strategy.strategies import unwrapped

log = logging.getLogger("runner")

_RNG, _EXTRA = "rng", "extra"
_OF_RUNS = "config.yaml"
_RESERVED = (_RNG, _EXTRA)
_PATIENCE = 1.0  # seconds for the lock of an earlier object or process


@dataclass(frozen=True)
class Restored:
    """What a loop goes on from."""

    step: int
    epoch: int
    metrics: Mapping[str, float]
    extra: Mapping[str, Any]
    """What was saved as `extra`."""
    path: Path
    """The checkpoint."""


class Checkpoints:
    """The checkpoints of a loop: written in the background, durable once acknowledged, verified when read.

    Each is the general checkpoint of PyTorch's tutorial, with the state of the global random generators. One process at
    a time saves into a directory. https://docs.pytorch.org/tutorials/beginner/saving_loading_models.html
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        keep_last: int = 2,
        keep_best: int = 1,
        keep_every: int | None = None,
        monitor: str = "val/loss",
        mode: str = "min",
        asynchronous: bool = True,
    ) -> None:
        """Use a directory, which the first save creates.

        The best checkpoints are those of the metric `monitor`, by `mode` (min or max); a file `<name>.pin` beside a
        checkpoint keeps it as well.

        Raises:
            ConfigError: an argument is invalid, or the directory is that of a run.
        """
        self.directory = local_path(str(directory))
        if keep_last < 2 or keep_best < 1 or (keep_every is not None and keep_every < 1) or mode not in ("min", "max"):
            raise ConfigError(
                f"keep_last {keep_last}, keep_best {keep_best}, keep_every {keep_every} or mode {mode!r} is invalid; "
                "keep at least the last 2 and the best 1, every 1 or more steps, and take the mode min or max"
            )
        if (self.directory / _OF_RUNS).exists():
            raise ConfigError(
                f"{self.directory} is the directory of a run, which a loop of your own would mix up; name another one"
            )
        self._monitor, self._mode = monitor, Mode(mode)
        self._keep = retentions(self._mode, last=keep_last, best=keep_best, every=keep_every)
        self._worker = Background() if asynchronous else AtOnce()
        self._saving: StoreSaving | None = None
        self._restored: Restored | None = None
        self._ownership = Ownership(_PATIENCE)
        weakref.finalize(self, self._ownership.__exit__)

    def save(
        self,
        step: int,
        *,
        epoch: int = 0,
        loss: float | Tensor = 0.0,
        metrics: Mapping[str, float | Tensor] | None = None,
        extra: Mapping[str, Any] | None = None,
        **parts: Any,
    ) -> None:
        """Copy the present states of the parts; they are on disk when the next `save`, or `settle`, returns.

        A part, such as `model=model`, is anything with `state_dict` and `load_state_dict`. Wrappers of DataParallel,
        DistributedDataParallel and `torch.compile` are taken off. `extra` holds plain values and tensors.

        Raises:
            ConfigError: a part has no state, or a reserved name.
            NameTaken: the directory has checkpoints that this loop has not restored.
            RunInUse: another process saves there.
            Unsavable: a state holds more than tensors and plain values.
            NonFinite: a tensor became NaN or infinite; nothing is written. May be of the former save.
            SaveFailed: the disk refused; all earlier files are unchanged. May be of the former save.
        """
        saving = self._saving or self._open()
        figures = {name: _number(value) for name, value in (metrics or {}).items()}
        described = {"epoch": epoch, "loss": _number(loss), "metrics": figures}
        self._worker.settle()
        own: dict[str, Stateful] = {_RNG: Randomness(cuda_in_use()), _EXTRA: Held(extra or {})}
        saving.take({**_checked(parts), **own}, {"global_step": step, **described})
        saving.start()

    def restore(self, path: str | Path | None = None, **parts: Any) -> Restored | None:
        """Restore the parts from the newest valid checkpoint, or from `path`; return None if none was ever saved.

        Strict: the file has exactly these parts, in their shapes. The global random generators are restored with them.
        A file that is named is never replaced by another; the newer ones move to `checkpoints/superseded/` at the next
        save.

        Raises:
            CheckpointMissing, CheckpointDamaged, CheckpointRefused: it cannot be read, or all are damaged.
            CheckpointMismatch: it has other parts, or other shapes.
        """
        found = self._newest() if path is None else local_path(str(path))
        if found is None:
            return None
        self.settle()
        entries = read_entries(found)
        extra = entries.pop(f"{_EXTRA}{SUFFIX}", {})
        restore({**_checked(parts), _RNG: Randomness(cuda_in_use())}, entries, found)
        self._saving = None  # the next save continues from here
        known = (entries["global_step"], entries["epoch"], entries["metrics"])
        self._restored = Restored(*known, extra, found)
        return self._restored

    def settle(self) -> None:
        """Return once everything that was saved is on disk; raise like `save` if it is not."""
        if self._saving is not None:
            self._saving.settle()

    @property
    def last(self) -> Path | None:
        """The newest checkpoint, `last.tar`; None before the first."""
        return pointer_in(self.directory, LAST)

    @property
    def best(self) -> Path | None:
        """The best checkpoint, `best.tar`; None while none has the monitored metric."""
        return pointer_in(self.directory, BEST)

    def __enter__(self) -> Self:
        """Return the checkpoints."""
        return self

    def __exit__(self, *_: object) -> None:
        """Settle, and let another process save there."""
        try:
            self.settle()
        finally:
            self._saving = None
            self._ownership.__exit__()

    def _newest(self) -> Path | None:
        found, passed_over = newest_valid(self.directory)
        for error in passed_over:
            log.warning("passed over: %s", error)
        if found is None and passed_over:
            raise CheckpointDamaged(
                f"none of the checkpoints in {self.directory} is valid, so there is nothing to go on from; name "
                f"another directory, or delete this one; the newest: {passed_over[0]}"
            )
        return found

    def _open(self) -> StoreSaving:
        """Own the directory, and continue from what was restored."""
        self._own()
        at, there = self._restored, step_files(self.directory)
        elsewhere = at is not None and run_directory_of(at.path).resolve() != self.directory.resolve()
        if there and (at is None or elsewhere):
            raise NameTaken(
                f"{self.directory} has checkpoints up to step {there[-1].step}; call restore() first, to go on from "
                "them, or name another directory"
            )
        store = CheckpointStore(self.directory, keep=self._keep, monitor=self._monitor, mode=self._mode)
        store.prepare(None if at is None else standing(at.path, monitor=self._monitor, mode=self._mode))
        environment = {"torch": str(torch.__version__), "python": platform.python_version()}
        self._saving = StoreSaving(
            store,
            [],
            {"config": "", "environment": environment},
            worker=self._worker,
            tolerance=Tolerance(0),
            before=Tenure(self.directory).check,
        )
        return self._saving

    def _own(self) -> None:
        make_directory(self.directory, Disk())
        try:
            self._ownership.take(self.directory)
        except RunInUse as error:
            owner = owner_of(self.directory)
            if owner is None or (owner.host, owner.pid) != (platform.node(), os.getpid()):
                raise
            raise RunInUse(
                f"{self.directory} is in use by another Checkpoints of this program; use that one, or leave its `with` "
                "block first"
            ) from error
        self._ownership.sign()


def _checked(parts: Mapping[str, Any]) -> dict[str, Stateful]:
    for name, part in parts.items():
        if not isinstance(part, Stateful):
            raise ConfigError(
                f"{name} is a {type(part).__name__}, which has no state_dict and load_state_dict; put plain values "
                f"into extra={{'{name}': ...}}"
            )
        if name in _RESERVED:
            raise ConfigError(f"{name} is a reserved name; give this part another one")
    return {name: unwrapped(part) for name, part in parts.items()}


def _number(value: float | Tensor) -> float:
    return float(value.detach()) if isinstance(value, Tensor) else float(value)
