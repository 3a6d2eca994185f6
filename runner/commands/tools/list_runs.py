"""`python -m runner list`: every run below a directory, its state, and the command that continues it."""

import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runner.checkpoint.best import claimed
from runner.checkpoint.listing import SUPERSEDED, candidates
from runner.errors import ConfigError, RunnerError
from runner.run_directory.attempts import read_attempts
from runner.run_directory.status import FILE, Status, read_status
from runner.small_files import read_text
from runner.sweeps.results.table import RECORD
from runner.text import aligned
from runner.wiring.resume.stored_config import read_config
from runner.wiring.starts.ways_on import can_begin_again, first_command

_HEADS = ("run", "state", "step", "epoch", "best", "metric", "model", "lr", "size", "continue with")
_RIGHT = [_HEADS.index(head) for head in ("step", "epoch", "best", "lr", "size")]
_PLAIN = re.compile(r"[\w./-]+", re.ASCII)


@dataclass(frozen=True)
class Run:
    """One run directory; with an unreadable status.json its state is "unreadable" and unknown values are None."""

    path: str
    state: str
    step: int | None
    epoch: int | None
    best_metric: float | None
    monitor: str | None
    """The metric of `best_metric`."""
    model: str | None
    """The class or classes of the models in the newest attempt."""
    lr: float | None
    updated: str | None
    size: int
    """Bytes on the disk; a file with several names counts once."""
    continue_with: str | None
    """None if the run is finished or running, or has neither a checkpoint nor a command on record."""


def list_command(directory: str, sort: str = "run") -> int:
    """Print the runs below a directory as a table, sorted by a column; runs without a value come last."""
    runs = _runs_below(directory, sort)
    print(aligned([_HEADS, *(_cells(run) for run in runs)], right=_RIGHT))
    return 0


def list_json_command(directory: str, sort: str = "run") -> int:
    """Print the runs below a directory as a JSON list of objects, sorted as by `list_command`."""
    print(json.dumps([asdict(run) for run in _runs_below(directory, sort)], indent=2))
    return 0


def _runs_below(directory: str, sort: str) -> list[Run]:
    root = Path(directory)
    if not root.is_dir():
        raise ConfigError(f"there is no directory {directory:.200}; name one that holds runs, such as outputs")
    field = {"run": "path", "best": "best_metric"}.get(sort, sort)
    runs = [_run(path) for path in sorted(_find(root))]
    known = [run for run in runs if getattr(run, field) is not None]
    return [*sorted(known, key=lambda run: getattr(run, field)), *(run for run in runs if run not in known)]


def _find(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        if RECORD in names and SUPERSEDED in folders:
            folders.remove(SUPERSEDED)  # set aside by a sweep
        if FILE in names and (path := Path(folder)).joinpath(FILE).is_file():
            yield path


def _run(path: Path) -> Run:
    status, size = _status(path), _size(path)
    if status is None:
        return Run(str(path), "unreadable", None, None, None, None, None, None, None, size, _continuing(path))
    found = claimed(path, status.monitor) if status.monitor and status.state != "finished" else None
    best = status.best_metric if found is None else found[0]  # a killed run did not record its last save
    over = status.state in ("finished", "running")
    command = None if over else _continuing(path)
    facts = (status.step, status.epoch, best, status.monitor, *_settings(path), status.updated)
    return Run(str(path), status.state, *facts, size, command)


def _settings(path: Path) -> tuple[str | None, float | None]:
    """Return the model and the learning rate of a run's newest attempt; None for what is unknown."""
    try:
        attempts = read_attempts(path)
        config = read_config("\n".join(attempts[-1].config) if attempts else read_text(path / "config.yaml"), path)
    except (OSError, ValueError, RunnerError):
        return None, None
    optimizer = config.get("optimizer")
    rate = optimizer.get("lr") if isinstance(optimizer, Mapping) else None
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or abs(rate) > 1e300:
        rate = None
    return _classes(config.get("model")), rate


def _classes(model: Any) -> str | None:
    if not isinstance(model, Mapping):
        return None
    nodes = [model] if "_target_" in model else [node for node in model.values() if isinstance(node, Mapping)]
    return ", ".join(str(node.get("_target_")).rpartition(".")[2][:40] for node in nodes[:4]) or None


def _status(path: Path) -> Status | None:
    with suppress(RecursionError):  # status.json is nested too deeply
        return read_status(path)
    return None


def _continuing(path: Path) -> str | None:
    with suppress(OSError):
        if next(candidates(path), None) is not None:
            return shlex.join(["python", "run.py", f"resume={_value(str(path))}"])
        return first_command(path) if can_begin_again(path) else None
    return None


def _value(path: str) -> str:
    """Return a path for an override, quoted if Hydra's grammar needs it."""
    if _PLAIN.fullmatch(path):
        return path
    return "'" + path.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _size(run: Path) -> int:
    blocks: dict[tuple[int, int], int] = {}
    for folder, folders, names in os.walk(run):
        folders[:] = [name for name in folders if not Path(folder, name, FILE).is_file()]  # runs of their own
        for name in names:
            with suppress(OSError):  # deleted since it was listed
                status = os.lstat(os.path.join(folder, name))
                blocks[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(blocks.values())


def _cells(run: Run) -> tuple[str, ...]:
    numbers = (run.step, run.epoch)
    best = "-" if run.best_metric is None else f"{run.best_metric:.6g}"
    shown = ("-" if number is None else str(number) for number in numbers)
    named = (text or "-" for text in (run.monitor, run.model))
    rate, size = "-" if run.lr is None else f"{run.lr:.3g}", _mebibytes(run.size)
    return (run.path, run.state, *shown, best, *named, rate, size, run.continue_with or "")


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
