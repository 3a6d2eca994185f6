"""The jobs of a search: each runs the values of one trial, and the study is told its result."""

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
from runner.sweeps.optuna.study import JOB, OVERRIDES, jobs_of
from runner.sweeps.results.objectives import at_best
from runner.sweeps.results.table import curve
from runner.sweeps.schedule import Ended

METRICS = "metrics.csv"


@dataclass(frozen=True)
class Jobs:
    """How trials become jobs, and who is told of them."""

    of: Callable[[Sequence[str]], Job]
    """Returns the job of the drawn overrides; ConfigError if they make no valid config."""
    instead: Callable[[int], Job]
    """Returns a placeholder for a trial whose overrides make no valid config."""
    begins: Callable[[Job], None]
    """Called before a job runs."""
    pruned: Callable[[Job], None]
    """Called when a job is pruned."""


@dataclass
class _Work:
    """A running job with its trial."""

    job: Job
    trial: Trial
    reported: int
    """The number of evaluations that the study knows."""
    twins: list[Trial] = field(default_factory=list)
    """Later trials that drew the same values."""
    size: int = -1


class StudySource:
    """A source that draws a job's values when a slot is free, until the study has all its trials."""

    def __init__(self, study: Study, space: Sequence[Parameter], metrics: Sequence[str], jobs: Jobs) -> None:
        self._study, self._space, self._metrics, self._jobs = study, space, metrics, jobs
        self._begun: deque[FrozenTrial] = deque()
        self._left = 0
        self._working: dict[str, _Work] = {}
        self._pruned = jobs_of(study, TrialState.PRUNED)
        self.told = 0
        """The number of trials that repeated earlier values and took their result without running."""
        self.failures: list[Ended] = []
        """Failures that the schedule does not see."""

    def want(self, begun: Sequence[FrozenTrial], left: int) -> None:
        """Continue these trials, then draw `left` new ones."""
        self._begun, self._left = deque(begun), left

    def take(self) -> Job | None:
        """Return the job of the next trial without a result."""
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
            overrides = self._drawn(trial)
            trial.set_user_attr(OVERRIDES, overrides)
            job = self._jobs.of(overrides)
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
            return [parameter.override(drawn(trial, parameter)) for parameter in self._space]
        except (ValueError, TypeError, LookupError) as error:
            raise ConfigError(f"trial {trial.number} of the study has values outside the space") from error

    def _work(self, job: Job, trial: Trial) -> _Work:
        return _Work(job, trial, len(self._study.get_trials(deepcopy=False)[trial.number].intermediate_values))

    def _is_known(self, trial: Trial, job: Job) -> bool:
        """Tell the study the job's result if the job has ended already; return whether it has."""
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
        """Return the jobs that the pruner stops."""
        return [job for job in running if self._report(self._working[job.name], prune=True)]

    def _report(self, work: _Work, *, prune: bool = False) -> bool:
        """Report new evaluations to the study; return whether the pruner stops the trial at one of them."""
        if len(self._metrics) > 1:  # Optuna does not prune then
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
        """Tell the study the result; a stopped job has none, since it will be resumed."""
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
        self.failures.append(Ended(job, 1, f"its best checkpoint has no {' and '.join(self._metrics)}", 0.0))

    def _values(self, job: Job) -> list[float] | None:
        """Return the objectives of a finished job, None if any is missing."""
        if len(self._metrics) == 1:
            status = read_status(job.directory)
            best = None if status is None else status.best_metric
            return None if best is None else [best]
        found = at_best(job.directory, self._metrics)
        return [found[name] for name in self._metrics] if len(found) == len(self._metrics) else None

    def _fail(self, trial: Trial, error: ConfigError) -> None:
        """Record that a trial's values make no valid config."""
        self._study.tell(trial.number, state=TrialState.FAIL)
        job = self._jobs.instead(trial.number)
        job.log.parent.mkdir(exist_ok=True)
        job.log.write_text(f"error: {error}\n", encoding="utf-8")
        self.failures.append(Ended(job, error.exit_code, str(error), 0.0))


def drawn(trial: Trial, parameter: Parameter) -> Any:
    """Return the trial's value of a parameter, drawn now unless drawn before."""
    if isinstance(parameter, Choice):
        return trial.suggest_categorical(parameter.key, parameter.values)
    low, high, step, log = parameter.low, parameter.high, parameter.step, parameter.log
    if parameter.whole:
        return trial.suggest_int(parameter.key, int(low), int(high), step=int(step or 1), log=log)
    return trial.suggest_float(parameter.key, low, high, step=step, log=log)
