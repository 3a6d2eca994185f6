"""One sweep: its directory has one owner, its jobs come from a source, and its results are made in the end."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from hydra.core.utils import JobReturn, JobStatus, configure_log
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from runner.commands.sweep.hydra_job import TaskFunction
from runner.commands.tools.report import report
from runner.errors import ConfigError, LeadsElsewhere, RunnerError
from runner.exit_codes import FAILED, FINISHED, INTERRUPTED
from runner.files import Disk, make_directory, remove_stale_temporaries, replace_text
from runner.run_directory.names import name_of, name_with, place_of, unique_name
from runner.run_directory.ownership import Ownership
from runner.run_directory.status import read_status
from runner.signals import Stop, parse_duration
from runner.sweeps.display import display
from runner.sweeps.executors.executor import Executor
from runner.sweeps.jobs import Job, Need, Rerun, need_of
from runner.sweeps.results.table import Record, write_record
from runner.sweeps.schedule import Ended, Limits, Schedule, Source
from runner.text import first_line
from runner.wiring.config.compose import check_hydra, checked, compose_job, goal_of, job_digest, kind_of, plain
from runner.wiring.overrides.arguments import command, parse
from runner.wiring.schema.sweeping import Local, OnFailure
from runner.wiring.trust.targets import check_modules

SUPERSEDED = "superseded"
OWN_SUBDIR = "${job_directory:}"


class Launcher(Protocol):
    """One of our launchers, as Hydra has set it up."""

    config: Any
    context: Any
    command: TaskFunction

    @property
    def options(self) -> Local:
        """Its options as the schema has them; ConfigError if one is wrong."""

    def executor(self, at_a_time: int) -> Executor:
        """Return what runs so many jobs at a time; ConfigError if an option of its own is wrong."""

    def slots(self) -> int:
        """Return how many jobs run at a time if `n_jobs` does not say."""


@dataclass(frozen=True)
class Sweep:
    """A sweep whose options are known to be right, of which nothing is made yet; entered, it can run jobs."""

    launcher: Launcher
    directory: Path
    limits: Limits
    rerun: Rerun
    executor: Executor

    def __enter__(self) -> Self:
        """Make the executor ready, in the background where it can, while the jobs are found out."""
        self.executor.__enter__()
        return self

    def __exit__(self, *reason: object) -> None:
        """End what still runs."""
        self.executor.__exit__(*reason)

    @property
    def preview(self) -> bool:
        """Whether only to say what would run."""
        return self.launcher.options.preview

    def job(self, words: Sequence[str], swept: Sequence[str]) -> Job:
        """Return the job of these words, in the directory that is its own; `swept` are the words that name it."""
        composed = compose_job(self.launcher.config, words)
        own = [word for word in words if parse([word])[0].key_or_group not in ("name", "resume")]
        try:
            directory, name = Path(str(composed.hydra.sweep.dir)), str(composed.hydra.sweep.subdir)
        except OmegaConfBaseException as error:
            raise ConfigError(f"hydra.sweep cannot name jobs: {first_line(error)}") from error
        if directory != self.directory:
            raise ConfigError(f"hydra.sweep.dir cannot be {self.directory} for one job and {directory} for another")
        is_ours = plain(composed.hydra.sweep)["subdir"] == OWN_SUBDIR
        named = [word for word in own if word in swept] if is_ours else [name]
        place = directory / _found(directory, job_digest(composed), named)
        if place.is_symlink():
            raise LeadsElsewhere(f"{place} is a link, and each job has a real folder; put the folder itself there")
        return Job(place, own, kind_of(composed), goal_of(composed))

    def mistake(self, words: Sequence[str]) -> ConfigError | None:
        """Return what is wrong with the config of a job, as far as it can be said before the job starts."""
        composed = compose_job(self.launcher.config, words)
        try:
            checked(composed)
            check_modules(plain(composed))
        except ConfigError as error:
            return error
        return None

    @contextmanager
    def owned(self) -> Iterator[Stop]:
        """Make the directory, hold it, and listen for a stop; RunInUse while another sweep of this name is going on."""
        self.launcher.command.entered = True
        make_directory(self.directory, Disk())
        with Ownership() as ownership:
            ownership.take(self.directory)
            ownership.sign()
            remove_stale_temporaries(self.directory)
            replace_text(self.directory / "multirun.yaml", OmegaConf.to_yaml(self.launcher.config))
            with Stop() as stop:
                yield stop

    def put_on_record(self, jobs: Sequence[Job]) -> None:
        """Let the report know these jobs, which have one goal."""
        kinds = {job.name: job.kind for job in jobs}
        write_record(self.directory, Record(*jobs[0].goal, {job.name: job.words for job in jobs}, kinds=kinds))

    def run(self, source: Source, total: int, stop: Stop) -> list[Ended]:
        """Run what comes from the source, about `total` jobs, and return how each ended.

        What ends the sweep itself is raised when what has come of it so far is reported.
        """
        name = name_of(self.directory)
        flags = self.launcher.command.flags
        chosen = [word for word in self.launcher.config.hydra.overrides.hydra if word.startswith("hydra/")]

        def argv(job: Job) -> list[str]:
            # `chosen`, since the user's own files may set keys of a sweeper or launcher, which must be there then
            return [sys.argv[0], *flags, *chosen, *job.words, f"name={name}/{job.name}", "resume=auto"]

        schedule = Schedule(self.executor, source, self.limits, argv, display(total))
        try:
            return schedule.run(stop)
        except Exception:
            if schedule.done:
                with suppress(RunnerError):  # of the same disk; what ended the sweep stays the one that is told
                    report(self.directory, [end for end in schedule.done if end.failed])
            raise

    def set_aside(self, job: Job) -> None:
        """Move what a job that is to begin anew had made, so that nothing is lost."""
        failed = self.rerun is Rerun.failed and need_of(job) is Need.again
        if (self.rerun is Rerun.all or failed) and job.directory.exists():
            target = self.directory / SUPERSEDED / f"{job.name}-{unique_name()}"
            target.parent.mkdir(exist_ok=True)
            job.directory.rename(target)

    def close(self, ended: Sequence[Ended], reason: str | None) -> None:
        """Report and, of a stop, say how to go on; a stop of the sweep itself ends it, by Ctrl-C as that does.

        The exit code is 1 as soon as a job has failed, or else 75 if one was stopped.
        """
        failures = [end for end in ended if end.failed]
        stopped = reason is not None or any(end.code == INTERRUPTED and not end.given_up for end in ended)
        self.launcher.command.note(FAILED if failures else INTERRUPTED if stopped else FINISHED)
        report(self.directory, failures)
        if stopped:
            again = command(*self.launcher.command.typed)
            print(f"stopped{f' by {reason}' if reason else ''}; go on with:\n{again}", flush=True)
        if reason == "SIGINT":
            raise KeyboardInterrupt
        if reason is not None:
            raise SystemExit(self.launcher.command.exit_code)


def open_sweep(launcher: Launcher) -> Sweep:
    """Return the sweep that the config describes.

    Raises:
        ConfigError: an option is wrong, or the sweep is to lie elsewhere than in outputs/.
    """
    configure_log(launcher.config.hydra.hydra_logging, launcher.config.hydra.verbose)
    options = launcher.options
    timeout = parse_duration(options.job_timeout)
    stops = options.on_failure is OnFailure.stop
    limits = Limits(options.n_jobs or launcher.slots(), options.retries, timeout, stops)
    check_hydra(launcher.config.hydra)
    directory = place_of(str(launcher.config.hydra.sweep.dir), "hydra.sweep.dir")
    return Sweep(launcher, directory, limits, options.rerun, launcher.executor(limits.at_a_time))


def check_one_goal(jobs: Sequence[Job]) -> tuple[str, str]:
    """Return the metric that all jobs are judged by, and its mode.

    Raises:
        ConfigError: there is more than one, and no table could compare the jobs.
    """
    goals = {job.goal: job.name for job in jobs}
    if len(goals) == 1:
        return next(iter(goals))
    said = ", ".join(f"the {mode} of {monitor} ({name})" for (monitor, mode), name in goals.items())
    raise ConfigError(
        f"the jobs cannot be compared, since each is judged by its own checkpoint.monitor and checkpoint.mode: {said}; "
        "give both on the command line to judge all by one metric, or make a sweep of each"
    )


def _found(sweep: Path, digest: str, named: Sequence[str]) -> str:
    """Return the directory that has this job's hash already, whatever named it then; else one by what names it now."""
    there = sorted(path.name for path in sweep.glob(f"*-{digest}") if not path.is_symlink())
    return there[0] if there else name_with(named, digest)


def returned(job: Job) -> JobReturn:
    """Return what Hydra is told of a job: its best metric, None if it has none or is not finished."""
    status = read_status(job.directory)
    done = JobReturn(overrides=list(job.words), working_dir=str(job.directory), status=JobStatus.COMPLETED)
    done.return_value = status.best_metric if status is not None and status.state == "finished" else None
    return done
