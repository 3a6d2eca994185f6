"""The jobs of a search: each has the values of a trial, whose study is told what came of it."""

from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from runner.errors import ConfigError
from runner.exit_codes import INTERRUPTED
from runner.run_directory.status import read_status
from runner.sweeps.jobs import Job, Need, need_of
from runner.sweeps.optuna.space import Choice, Parameter
from runner.sweeps.optuna.study import JOB, WORDS, jobs_of
from runner.sweeps.results.objectives import at_best
from runner.sweeps.results.table import curve
from runner.sweeps.schedule import Ended

METRICS = "metrics.csv"


@dataclass(frozen=True)
class Jobs:
    """What becomes of words outside of the study."""

    of: Callable[[Sequence[str]], Job]
    """Returns the job of the words that were drawn; ConfigError if they cannot be together."""
    instead: Callable[[int], Job]
    """Returns what stands for the job of a trial of which there cannot be one."""
    begins: Callable[[Job], None]
    """Is told before a job runs."""
    pruned: Callable[[Job], None]
    """Is told that a job was pruned."""


@dataclass
class _Work:
    """A job at work, with its trial."""

    job: Job
    trial: Trial
    reported: int
    """How many of its evaluations the study knows."""
    twins: list[Trial] = field(default_factory=list)
    """Later trials that drew the very same values."""
    size: int = -1


class StudySource:
    """A source that draws the values of a job when there is room for it, until the study has what it is to have."""

    def __init__(self, study: Study, space: Sequence[Parameter], metrics: Sequence[str], jobs: Jobs) -> None:
        self._study, self._space, self._metrics, self._jobs = study, space, metrics, jobs
        self._begun: deque[FrozenTrial] = deque()
        self._left = 0
        self._working: dict[str, _Work] = {}
        self._pruned = jobs_of(study, TrialState.PRUNED)
        self.told = 0
        """How many trials drew what an earlier one had drawn, and were told its result without running."""
        self.failures: list[Ended] = []
        """Failures of which the schedule does not know."""

    def want(self, begun: Sequence[FrozenTrial], left: int) -> None:
        """Go on with these trials, and then draw so many."""
        self._begun, self._left = deque(begun), left

    def take(self) -> Job | None:
        """Return the job of the next trial whose result is not known already."""
        while (trial := self._next()) is not None:
            if (job := self._begin(trial)) is not None:
                return job
        return None

    def _next(self) -> Trial | None:
        if self._begun:
            return Trial(self._study, self._begun.popleft()._trial_id)
        if not self._left:
            return None
        self._left -= 1
        return self._study.ask()

    def _begin(self, trial: Trial) -> Job | None:
        try:
            words = self._drawn(trial)
            trial.set_user_attr(WORDS, words)
            job = self._jobs.of(words)
        except ConfigError as error:
            self._fail(trial, error)
            return None
        trial.set_user_attr(JOB, job.name)
        if job.name in self._working:
            self._working[job.name].twins.append(trial)
            return None
        if self._is_known(trial, job):
            self.told += 1
            return None
        self._jobs.begins(job)
        self._working[job.name] = self._work(job, trial)
        return job

    def _drawn(self, trial: Trial) -> list[str]:
        try:
            return [parameter.word(drawn(trial, parameter)) for parameter in self._space]
        except (ValueError, TypeError, LookupError) as error:
            raise ConfigError(f"trial {trial.number} of the study has values that are not of the space") from error

    def _work(self, job: Job, trial: Trial) -> _Work:
        return _Work(job, trial, len(self._study.get_trials(deepcopy=False)[trial.number].intermediate_values))

    def _is_known(self, trial: Trial, job: Job) -> bool:
        """Tell the study what came of the job, if it ended before: a sweep was killed, or its values drawn, then."""
        finished = need_of(job) is Need.nothing
        if not finished and job.name not in self._pruned:
            return False
        self._report(self._work(job, trial))
        if finished:
            self._finish(trial, job)
        else:
            self._study.tell(trial.number, state=TrialState.PRUNED)
        return True

    def given_up(self, running: Sequence[Job]) -> Collection[Job]:
        """Return the jobs whose evaluations the pruner finds not good enough."""
        return [job for job in running if self._report(self._working[job.name], prune=True)]

    def _report(self, work: _Work, *, prune: bool = False) -> bool:
        """Let the study know the evaluations that are new; return whether one of them is the last to be wanted."""
        if len(self._metrics) > 1:  # Optuna has no pruning then
            return False
        try:
            size = (work.job.directory / METRICS).stat().st_size
        except FileNotFoundError:
            return False
        if size == work.size and prune:
            return False
        work.size = size
        for value in curve(work.job.directory, self._metrics[0])[1][work.reported :]:
            work.reported += 1
            work.trial.report(value, work.reported)
            if prune and work.trial.should_prune():
                return True
        return False

    def ended(self, ended: Ended) -> None:
        """Tell the study; of a job that was stopped say nothing, for it is to be resumed."""
        work = self._working.pop(ended.job.name)
        for trial in (work.trial, *work.twins):
            self._report(self._work(work.job, trial))
            self._settle(trial, ended)
        self.told += len(work.twins)

    def _settle(self, trial: Trial, ended: Ended) -> None:
        if ended.code == 0:
            self._finish(trial, ended.job)
        elif ended.code != INTERRUPTED:
            self._study.tell(trial.number, state=TrialState.FAIL)
        elif ended.given_up:
            self._study.tell(trial.number, state=TrialState.PRUNED)
            self._pruned.add(ended.job.name)
            self._jobs.pruned(ended.job)

    def _finish(self, trial: Trial, job: Job) -> None:
        values = self._values(job)
        if values is not None:
            self._study.tell(trial.number, values)
            return
        self._study.tell(trial.number, state=TrialState.FAIL)
        self.failures.append(Ended(job, 1, f"it has no {' and '.join(self._metrics)} at its best", 0.0))

    def _values(self, job: Job) -> list[float] | None:
        """Return what a finished job is judged by, None if that is not to be found."""
        if len(self._metrics) == 1:
            status = read_status(job.directory)
            best = None if status is None else status.best_metric
            return None if best is None else [best]
        found = at_best(job.directory, self._metrics)
        return [found[name] for name in self._metrics] if len(found) == len(self._metrics) else None

    def _fail(self, trial: Trial, error: ConfigError) -> None:
        """Have it that the values of a trial make no config."""
        self._study.tell(trial.number, state=TrialState.FAIL)
        job = self._jobs.instead(trial.number)
        job.log.parent.mkdir(exist_ok=True)
        job.log.write_text(f"error: {error}\n", encoding="utf-8")
        self.failures.append(Ended(job, error.exit_code, str(error), 0.0))


def drawn(trial: Trial, parameter: Parameter) -> Any:
    """Return the value of a trial, drawn now unless it was before."""
    if isinstance(parameter, Choice):
        return trial.suggest_categorical(parameter.key, parameter.words)
    low, high, step, log = parameter.low, parameter.high, parameter.step, parameter.log
    if parameter.whole:
        return trial.suggest_int(parameter.key, int(low), int(high), step=int(step or 1), log=log)
    return trial.suggest_float(parameter.key, low, high, step=step, log=log)
