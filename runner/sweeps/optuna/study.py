"""The study of a search, a file in the sweep's directory: its trials, their results, and what is left to run."""

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from runner.errors import ConfigError, DiskRefuses
from runner.text import one_line

FILE = "study.db"
JOB, OVERRIDES = "job", "words"
"""Attributes of a trial: its job's name, and the overrides that set its values."""
_NAME, _SEARCH = "search", "search"
_DIRECTIONS = {"min": StudyDirection.MINIMIZE, "max": StudyDirection.MAXIMIZE}


@dataclass(frozen=True)
class Search:
    """The identity of a study: trials of different searches cannot be compared."""

    space: Sequence[str]
    metrics: Mapping[str, str]
    """The objectives, each with `min` or `max`."""
    config: str
    """A hash of the config that all trials share."""
    fixed: Sequence[str]
    """The overrides that all trials share."""

    @property
    def directions(self) -> list[StudyDirection]:
        """Whether to minimise or maximise each objective."""
        return [_DIRECTIONS[mode] for mode in self.metrics.values()]

    def check(self, former: Mapping[str, Any], path: Path) -> None:
        """Raise ConfigError if the stored study belongs to another search."""
        for name, now in (("space", self.space), ("metrics", self.metrics)):
            if former[name] != now:
                raise _another(path, f"the {name} {_said(former[name])}", _said(now))
        if former["config"] != self.config:
            there, here = set(former["fixed"]) - set(self.fixed), set(self.fixed) - set(former["fixed"])
            if there or here:
                raise _another(path, f"a config with {_said(there)}", f"one with {_said(here)}")
            raise _another(path, "an earlier conf/", "today's conf/")


def _said(value: Any) -> str:
    parts = [f"{name}: {mode}" for name, mode in value.items()] if isinstance(value, Mapping) else value
    return ", ".join(sorted(parts)) or "(nothing)"


def _another(path: Path, there: str, here: str) -> ConfigError:
    return ConfigError(
        f"{path} is the study of {there}, not of {here}; use another name=, or start over with hydra.launcher.rerun=all"
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Optuna's own log and warnings."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


@contextmanager
def storage_kept() -> Iterator[None]:
    """Raise DiskRefuses if the study cannot be written, for example to a full disk."""
    try:
        yield
    except StorageInternalError as error:
        said = one_line(error.__cause__ or error, 200)
        raise DiskRefuses(f"{FILE} could not be written ({said}); fix this, and repeat the command") from error


def open_study(directory: Path, search: Search) -> Study | None:
    """Return the directory's study, None if there is none yet.

    Raises:
        ConfigError: the study belongs to another search, or cannot be read.
    """
    study, path = read_study(directory), directory / FILE
    if study is None:
        return None
    if (former := study.user_attrs.get(_SEARCH)) is not None:
        if not _is_search(former):
            raise _unreadable(path, "its search is not recorded")
        search.check(former, path)
    if study.directions != search.directions:
        raise _unreadable(path, "its directions do not match the metrics")
    return study


def read_study(directory: Path) -> Study | None:
    """Return the directory's study, of any search, None if there is none; raises like `open_study`."""
    path = directory / FILE
    if not path.exists():
        return None
    try:
        study = optuna.load_study(study_name=_NAME, storage=_storage(path))
        told = [(one.user_attrs.get(OVERRIDES, []), one.user_attrs.get(JOB, "")) for one in study.get_trials(False)]
    except KeyError:  # a kill came before the first write
        return None
    except Exception as error:  # of SQLAlchemy, sqlite, or a newer Optuna
        raise _unreadable(path, one_line(error, 200)) from error
    if not all(isinstance(job, str) and _is_texts(overrides) for overrides, job in told):
        raise _unreadable(path, "a trial's overrides or job name are not text")
    return study


def _is_search(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return False
    lists = _is_texts(value.get("space")) and _is_texts(value.get("fixed"))
    return lists and isinstance(value.get("metrics"), Mapping) and isinstance(value.get("config"), str)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _unreadable(path: Path, reason: str) -> ConfigError:
    return ConfigError(f"{path} cannot be read as a study ({reason}); move it away to begin a new one")


def make_study(directory: Path, search: Search) -> Study:
    """Return the directory's study, new if there is none; raises like `open_study`."""
    study = open_study(directory, search)
    if study is None:
        study = optuna.create_study(storage=_storage(directory / FILE), study_name=_NAME, directions=search.directions)
    if _SEARCH not in study.user_attrs:
        study.set_user_attr(_SEARCH, {**vars(search), "metrics": dict(search.metrics)})
    return study


def _storage(path: Path) -> str:
    return f"sqlite:///{os.path.relpath(path)}"  # relative: the current directory's name may need quoting


@dataclass(frozen=True)
class Outstanding:
    """The trials that a study still needs."""

    begun: Sequence[FrozenTrial]
    """Trials of a sweep that was stopped or killed; they continue first."""
    failed: Sequence[FrozenTrial]
    """Failed trials whose values run again."""
    new: int
    """The number of trials to draw, besides the failed ones."""

    @property
    def total(self) -> int:
        """The number of trials to run."""
        return len(self.begun) + len(self.failed) + self.new


def outstanding(study: Study | None, n_trials: int) -> Outstanding:
    """Return the trials to run until `n_trials` are finished or pruned."""
    trials = [] if study is None else study.get_trials(deepcopy=False)
    begun = [trial for trial in trials if trial.state is TrialState.RUNNING]
    results = [trial for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    left = max(0, n_trials - len(results) - len(begun))
    known = {_overrides(trial) for trial in trials if trial.state is not TrialState.FAIL}
    failed = {_overrides(trial): trial for trial in trials if trial.state is TrialState.FAIL}
    again = [trial for overrides, trial in failed.items() if overrides not in known]
    waiting = sum(trial.state is TrialState.WAITING for trial in trials)
    again = again[: max(0, left - waiting)]
    return Outstanding(begun, again, left - len(again))


def _overrides(trial: FrozenTrial) -> tuple[str, ...]:
    return tuple(trial.user_attrs.get(OVERRIDES, ()))


def summary(study: Study | None) -> str:
    """Return the number of trials in each state, as text."""
    trials = [] if study is None else study.get_trials(deepcopy=False)
    counts = [
        (sum(trial.state is state for trial in trials), name)
        for state, name in (
            (TrialState.COMPLETE, "finished"),
            (TrialState.PRUNED, "pruned"),
            (TrialState.FAIL, "failed"),
            (TrialState.RUNNING, "to be resumed"),
        )
    ]
    return ", ".join(f"{count} {name}" for count, name in counts if count) or "none yet"


def jobs_of(study: Study, *states: TrialState) -> set[str]:
    """Return the job names of all trials, or of those in these states."""
    trials = study.get_trials(deepcopy=False, states=states or None)
    return {trial.user_attrs[JOB] for trial in trials if JOB in trial.user_attrs}


def best_of(study: Study) -> dict[str, Any] | None:
    """Return the best values in the form of Hydra's sweepers, None if no trial has finished."""
    if not study.get_trials(deepcopy=False, states=[TrialState.COMPLETE]):
        return None
    if len(study.directions) == 1:
        best = study.best_trial
        return {"name": "optuna", "best_params": best.params, "best_value": best.value}
    solutions = [{"params": trial.params, "values": trial.values} for trial in study.best_trials]
    return {"name": "optuna", "solutions": [one for n, one in enumerate(solutions) if one not in solutions[:n]]}
