"""One run directory as the tools show it; each fact is read when it is asked for."""

import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from runner.checkpoint.best import claimed
from runner.checkpoint.facts import glance
from runner.checkpoint.listing import BEST, SUPERSEDED, candidates
from runner.checkpoint.sharded.manifest import is_sharded
from runner.commands.tools.listing.last_values import last_values
from runner.commands.tools.listing.settings import Settings
from runner.errors import ConfigError
from runner.run_directory.status import FILE, Status, read_status
from runner.sweeps.results.table import RECORD
from runner.text import in_override
from runner.wiring.starts.ways_on import can_begin_again, first_command

METRICS = "metrics.csv"
UNREADABLE = "unreadable"


class Run:
    """One run directory; what is unknown is None."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def status(self) -> Status | None:
        """What `status.json` says, None if it is unreadable."""
        with suppress(RecursionError):  # it is nested too deeply
            return read_status(self.path)
        return None

    @cached_property
    def settings(self) -> Settings:
        """The config of the newest attempt."""
        return Settings(self.path)

    @cached_property
    def metrics(self) -> dict[str, float]:
        """The last value of each metric, and of the test at the end."""
        status = self.status
        tested = {f"test/{name}": float(value) for name, value in ((status and status.test) or {}).items()}
        return {**last_values(self.path / METRICS), **tested}

    @property
    def state(self) -> str:
        """The state, or "unreadable" without a readable `status.json`."""
        return UNREADABLE if self.status is None else self.status.state

    @cached_property
    def best_metric(self) -> float | None:
        """The best value of the monitored metric; a killed run did not record its last save, but `best.tar` has it."""
        status = self.status
        if status is None or not status.monitor or status.state == "finished":
            return None if status is None else status.best_metric
        metrics = glance(self.path / BEST).get("metrics")
        value = metrics.get(status.monitor) if isinstance(metrics, Mapping) else None
        if isinstance(value, float):
            return value
        found = claimed(self.path, status.monitor)
        return status.best_metric if found is None else found[0]

    @property
    def model(self) -> str | None:
        """The class or classes of the models."""
        node = self.settings.get("model")
        if not isinstance(node, Mapping):
            return None
        nodes = [node] if "_target_" in node else [inner for inner in node.values() if isinstance(inner, Mapping)]
        return ", ".join(str(inner.get("_target_")).rpartition(".")[2][:40] for inner in nodes[:4]) or None

    @property
    def lr(self) -> float | None:
        """The learning rate that was asked for."""
        rate = self.settings.get("optimizer.lr")
        if isinstance(rate, bool) or not isinstance(rate, (int, float)) or abs(rate) > 1e300:
            return None
        return float(rate)

    @cached_property
    def size(self) -> int:
        """Bytes on the disk; a file with several names counts once."""
        blocks: dict[tuple[int, int], int] = {}
        for folder, folders, names in os.walk(self.path):
            folders[:] = [name for name in folders if not os.path.isfile(os.path.join(folder, name, FILE))]
            for name in names:
                with suppress(OSError):  # deleted since it was listed
                    status = os.lstat(os.path.join(folder, name))
                    blocks[status.st_dev, status.st_ino] = status.st_blocks * 512
        return sum(blocks.values())

    @cached_property
    def continue_with(self) -> str | None:
        """The command that continues it; None if it is over or at work, or has neither checkpoint nor command."""
        if self.state in ("finished", "running"):
            return None
        with suppress(OSError):
            if next(candidates(self.path), None) is not None:
                return shlex.join(["python", "run.py", f"resume={in_override(str(self.path))}"])
            return first_command(self.path) if can_begin_again(self.path) else None
        return None

    def as_plain(self) -> dict[str, Any]:
        """Return the facts that every listing as JSON has."""
        status = self.status
        return {
            "path": str(self.path),
            "state": self.state,
            "step": status and status.step,
            "epoch": status and status.epoch,
            "best_metric": self.best_metric,
            "monitor": status and status.monitor,
            "model": self.model,
            "lr": self.lr,
            "started": status and status.started,
            "updated": status and status.updated,
            "size": self.size,
            "continue_with": self.continue_with,
            "metrics": self.metrics,
        }


def runs_below(directory: str) -> list[Run]:
    """Return the runs below a directory, by path.

    Raises:
        ConfigError: there is no such directory.
    """
    root = Path(directory)
    if not root.is_dir():
        raise ConfigError(f"there is no directory {directory:.200}; name one that holds runs, such as outputs")
    return [Run(path) for path in sorted(_find(root))]


def _find(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        if RECORD in names and SUPERSEDED in folders:
            folders.remove(SUPERSEDED)  # set aside by a sweep
        if FILE in names and (path := Path(folder)).joinpath(FILE).is_file():
            yield path


def run_at(path: str) -> Run:
    """Return the run of a directory.

    Raises:
        ConfigError: it is no run directory.
    """
    place = Path(path)
    if (place / FILE).is_file():
        return Run(place)
    if place.is_file() or is_sharded(place):
        raise ConfigError(
            f"{path:.200} is a checkpoint, and this tool takes runs; name the run's directory, or compare two "
            "checkpoints with python -m runner diff"
        )
    raise ConfigError(f"{path:.200} is not a run: it holds no {FILE}; python -m runner list shows the runs of a folder")
