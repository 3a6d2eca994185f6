"""The start of a command: its config, its directory, its checkpoint."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from runner.checkpoint.best import Standing
from runner.wiring.resume.rules import Change


class Origin(Enum):
    """Where a run's state comes from."""

    scratch = "scratch"
    """From the seed, or from another run's weights: a warm start."""
    resume = "resume"
    """From a checkpoint of the run itself."""
    fork = "fork"
    """From a checkpoint of another run, its parent."""
    adopted = "adopted"
    """From a general checkpoint of another program, as far as that has the state."""


@dataclass(frozen=True)
class Start:
    """How a command starts, and in which directory."""

    origin: Origin
    config: DictConfig
    """The effective config with Hydra's own node."""
    overrides: list[str]
    """Today's overrides, without those of one attempt."""
    directory: Path
    typed_targets: frozenset[str]
    """The `_target_` names from conf/ or the command line, not from a file."""
    checkpoint: Path | None = None
    """The file that the state is restored from."""
    pinned: Mapping[str, Any] | None = None
    """The environment of the checkpoint: what `auto` chose."""
    changes: Sequence[Change] = ()
    notices: Sequence[str] = ()
    standing: Standing | None = None
    """The restored state's place among its run's files."""
    finished: bool = False
    """Whether nothing is left to do."""
    stopped_early: bool = False
    """Whether early stopping finished the run."""

    @property
    def way_on(self) -> str:
        """Advice that gives a finished run more to do."""
        if self.stopped_early:
            early = self.config.early_stopping
            if early.threshold is not None:
                both = "" if early.patience is None else " early_stopping.patience=null"
                return f"lift what stopped it with early_stopping.threshold=null{both}"
            return "raise early_stopping.patience=..., which stopped it, or lift it with null"
        lengths = (key for key in ("max_steps", "max_samples", "max_tokens") if self.config[key] is not None)
        return f"raise its length with {next(lengths, 'epochs')}=..."

    @property
    def parent(self) -> Path | None:
        """The checkpoint of another run that this one starts from."""
        return self.checkpoint if self.origin in (Origin.fork, Origin.adopted) else None
