"""`runner.train` and `runner.open`: runs in Python."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from runner.api.session import session
from runner.checkpoint.listing import BEST, LAST, pointer_in, step_files
from runner.commands.evaluate import evaluated
from runner.commands.predict import predicted
from runner.commands.train import trained
from runner.errors import ConfigError, RunFailed
from runner.exit_codes import FAILED
from runner.places import local_path
from runner.run_directory.attempts import newest_config
from runner.run_directory.claim import holds_run
from runner.run_directory.status import Status, read_status
from runner.text import in_override
from runner.tracking.csv_file import read_rows
from runner.wiring.load_model import load_model
from runner.wiring.resume.stored_config import read_config


def train(words: Sequence[str]) -> "Run":
    """Train like `python run.py` with these overrides, and return the run; see `runner.train`."""
    with session(words) as (overrides, searchpath):
        code, directory = trained(overrides, searchpath)
    run = Run(directory or Path())
    if code == FAILED:
        status = run.status
        reason = "its log says why" if status is None or status.reason is None else status.reason
        raise RunFailed(f"{run.directory} failed: {reason}; {run.directory / 'run.log'} has the traceback")
    return run


def open_run(directory: str | Path) -> "Run":
    """Return the run in a directory; see `runner.open`."""
    path = local_path(str(directory))
    if not path.is_dir() or not holds_run(path):
        raise ConfigError(f"{path} is not the directory of a run; name one such as outputs/x")
    return Run(path)


class Run:
    """A run, finished or not, as its directory tells of it now."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __repr__(self) -> str:
        """Return the directory, the state and the best metric."""
        status = self.status
        if status is None:
            return f"<run {self.directory}>"
        best = "" if status.best_metric is None else f", best {status.monitor} {status.best_metric:.4g}"
        return f"<run {self.directory}: {status.state}, step {status.step}{best}>"

    @property
    def status(self) -> Status | None:
        """The content of `status.json`; None if there is none to read."""
        return read_status(self.directory)

    @property
    def config(self) -> Mapping[str, Any]:
        """The effective config of the newest attempt, as plain values."""
        return read_config("\n".join(newest_config(self.directory)), self.directory / "config.yaml")

    @property
    def metrics(self) -> Any:
        """The columns of `metrics.csv`: a `pandas.DataFrame` where pandas is installed, else lists by name.

        In a list, a report without the metric has None.
        """
        rows = read_rows(self.directory / "metrics.csv")
        names = dict.fromkeys(name for row in rows for name in row)
        columns = {name: [_number(row.get(name)) for row in rows] for name in names}
        if find_spec("pandas") is None:
            return columns
        import pandas

        return pandas.DataFrame(columns)

    @property
    def checkpoints(self) -> list[Path]:
        """The checkpoints, oldest first."""
        return [file.path for file in step_files(self.directory)]

    @property
    def best(self) -> Path | None:
        """The best checkpoint, `best.tar`; None while there is none."""
        return pointer_in(self.directory, BEST)

    @property
    def last(self) -> Path | None:
        """The newest checkpoint, `last.tar`; None before the first."""
        return pointer_in(self.directory, LAST)

    def load(self, *, trust: tuple[str, ...] = ()) -> Any:
        """Return the best model in `eval()` mode on the CPU, as `runner.load` does."""
        return load_model(str(self.directory), trust)

    def evaluate(self, *words: str) -> dict[str, Any]:
        """Return the metrics of the best checkpoint like `task=evaluate`; overrides such as `data.split=val` apply."""
        with session(self._of_best("evaluate", words)) as (overrides, searchpath):
            return evaluated(overrides, searchpath)

    def predict(self, *words: str) -> Any:
        """Write predictions like `task=predict`, and return the path of the file; of several sets, paths by name."""
        with session(self._of_best("predict", words)) as (overrides, searchpath):
            output = predicted(overrides, searchpath)["output"]
        return {name: Path(path) for name, path in output.items()} if isinstance(output, dict) else Path(output)

    def resume(self, *words: str) -> "Run":
        """Continue the run like `resume=`, with overrides such as `epochs=30`, and return it."""
        return train([f"resume={in_override(str(self.directory))}", *words])

    def _of_best(self, task: str, words: Sequence[str]) -> list[str]:
        given = any(word.startswith("checkpoint_path=") for word in words)
        return [f"task={task}", *([] if given else [f"checkpoint_path={in_override(str(self.directory))}"]), *words]


def _number(value: str | None) -> float | int | None:
    if value is None:
        return None
    return int(value) if value.isdigit() else float(value)
