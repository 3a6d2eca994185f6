"""The study of a search, in a file of the sweep's directory: what was tried, what came of it, what is left to try."""

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
JOB, WORDS = "job", "words"
"""The attributes of a trial: the name of its job, and the words that its values are."""
_NAME, _SEARCH = "search", "search"
_DIRECTIONS = {"min": StudyDirection.MINIMIZE, "max": StudyDirection.MAXIMIZE}


@dataclass(frozen=True)
class Search:
    """What makes a study: trials of two different ones cannot be compared."""

    space: Sequence[str]
    metrics: Mapping[str, str]
    """The objectives, and of each whether `min` or `max` is wanted."""
    config: str
    """A hash of all that matters of what the trials have in common."""
    fixed: Sequence[str]
    """The words that all trials have."""

    @property
    def directions(self) -> list[StudyDirection]:
        """Whether less or more is wanted, of each objective."""
        return [_DIRECTIONS[mode] for mode in self.metrics.values()]

    def check(self, former: Mapping[str, Any], path: Path) -> None:
        """Raise ConfigError if a study of another search is to be gone on with."""
        for name, now in (("space", self.space), ("metrics", self.metrics)):
            if former[name] != now:
                raise _another(path, f"the {name} {_said(former[name])}", _said(now))
        if former["config"] != self.config:
            there, here = set(former["fixed"]) - set(self.fixed), set(self.fixed) - set(former["fixed"])
            if there or here:
                raise _another(path, f"a config with {_said(there)}", f"one with {_said(here)}")
            raise _another(path, "what conf/ was then", "what it is now")


def _said(value: Any) -> str:
    parts = [f"{name}: {mode}" for name, mode in value.items()] if isinstance(value, Mapping) else value
    return ", ".join(sorted(parts)) or "(nothing)"


def _another(path: Path, there: str, here: str) -> ConfigError:
    return ConfigError(
        f"{path} is the study of {there}, not of {here}, and goes on with its own only; take another name=, or begin "
        "anew with hydra.launcher.rerun=all"
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what Optuna says of itself from the output."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


@contextmanager
def storage_kept() -> Iterator[None]:
    """Raise DiskRefuses where the study cannot be written: the disk is full, say."""
    try:
        yield
    except StorageInternalError as error:
        said = one_line(error.__cause__ or error, 200)
        raise DiskRefuses(f"{FILE} could not be written ({said}); mend it, and give the same command again") from error


def open_study(directory: Path, search: Search) -> Study | None:
    """Return the study that the directory holds, None if there is none yet.

    Raises:
        ConfigError: it is the study of another search, or cannot be read.
    """
    study, path = read_study(directory), directory / FILE
    if study is None:
        return None
    if (former := study.user_attrs.get(_SEARCH)) is not None:
        if not _is_search(former):
            raise _unreadable(path, "it does not say of which search")
        search.check(former, path)
    if study.directions != search.directions:
        raise _unreadable(path, "its directions are not those of the metrics")
    return study


def read_study(directory: Path) -> Study | None:
    """Return the study that the directory holds, whatever was searched, None if there is none; raises as above."""
    path = directory / FILE
    if not path.exists():
        return None
    try:
        study = optuna.load_study(study_name=_NAME, storage=_storage(path))
        told = [(trial.user_attrs.get(WORDS, []), trial.user_attrs.get(JOB, "")) for trial in study.get_trials(False)]
    except KeyError:  # it was killed before it had written any
        return None
    except Exception as error:  # of SQLAlchemy, sqlite, or a newer Optuna
        raise _unreadable(path, one_line(error, 200)) from error
    if not all(isinstance(job, str) and _is_words(words) for words, job in told):
        raise _unreadable(path, "a trial has other words than a search draws")
    return study


def _is_search(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return False
    lists = _is_words(value.get("space")) and _is_words(value.get("fixed"))
    return lists and isinstance(value.get("metrics"), Mapping) and isinstance(value.get("config"), str)


def _is_words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


def _unreadable(path: Path, reason: str) -> ConfigError:
    return ConfigError(f"{path} cannot be read as a study ({reason}); move it away to begin a new one")


def make_study(directory: Path, search: Search) -> Study:
    """Return the study of the directory, a new one if there is none; raises as `open_study`."""
    study = open_study(directory, search)
    if study is None:
        study = optuna.create_study(storage=_storage(directory / FILE), study_name=_NAME, directions=search.directions)
    if _SEARCH not in study.user_attrs:
        study.set_user_attr(_SEARCH, {**vars(search), "metrics": dict(search.metrics)})
    return study


def _storage(path: Path) -> str:
    return f"sqlite:///{os.path.relpath(path)}"  # relative, since the current directory may have any name


@dataclass(frozen=True)
class Outstanding:
    """What a study wants until it has as many results as it is to have."""

    begun: Sequence[FrozenTrial]
    """Trials of a sweep that was stopped or killed: to be gone on with before anything else."""
    failed: Sequence[FrozenTrial]
    """Trials that failed, whose values are to be run again."""
    new: int
    """How many are to be drawn, those of failed ones left out."""

    @property
    def total(self) -> int:
        """How many trials would run."""
        return len(self.begun) + len(self.failed) + self.new


def outstanding(study: Study | None, n_trials: int) -> Outstanding:
    """Return what is left to do until `n_trials` have a result, be it a value or that they were pruned."""
    trials = [] if study is None else study.get_trials(deepcopy=False)
    begun = [trial for trial in trials if trial.state is TrialState.RUNNING]
    results = [trial for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    left = max(0, n_trials - len(results) - len(begun))
    known = {_words(trial) for trial in trials if trial.state is not TrialState.FAIL}
    failed = {_words(trial): trial for trial in trials if trial.state is TrialState.FAIL}
    again = [trial for words, trial in failed.items() if words not in known]
    waiting = sum(trial.state is TrialState.WAITING for trial in trials)
    again = again[: max(0, left - waiting)]
    return Outstanding(begun, again, left - len(again))


def _words(trial: FrozenTrial) -> tuple[str, ...]:
    return tuple(trial.user_attrs.get(WORDS, ()))


def summary(study: Study | None) -> str:
    """Return how many trials there are, by what came of them."""
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
    """Return the names of the jobs of all trials, or of those in one of these states."""
    trials = study.get_trials(deepcopy=False, states=states or None)
    return {trial.user_attrs[JOB] for trial in trials if JOB in trial.user_attrs}


def best_of(study: Study) -> dict[str, Any] | None:
    """Return the best values as Hydra's sweepers write them, None if no trial has finished."""
    if not study.get_trials(deepcopy=False, states=[TrialState.COMPLETE]):
        return None
    if len(study.directions) == 1:
        best = study.best_trial
        return {"name": "optuna", "best_params": best.params, "best_value": best.value}
    solutions = [{"params": trial.params, "values": trial.values} for trial in study.best_trials]
    return {"name": "optuna", "solutions": [one for n, one in enumerate(solutions) if one not in solutions[:n]]}
