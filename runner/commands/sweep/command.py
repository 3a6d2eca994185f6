"""One sweep: owns its directory, runs the jobs of a source, and reports the results."""

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
from runner.commands.sweep.several import flag_of
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
    """One of our launchers, as set up by Hydra."""

    config: Any
    context: Any
    command: TaskFunction

    @property
    def options(self) -> Local:
        """Its typed options; ConfigError if one is invalid."""

    def executor(self, at_a_time: int) -> Executor:
        """Return the executor for this many jobs at a time; ConfigError if an option is invalid."""

    def slots(self) -> int:
        """Return how many jobs run at a time without `n_jobs`."""


@dataclass(frozen=True)
class Sweep:
    """A sweep with valid options and no files yet; a context that can run jobs."""

    launcher: Launcher
    directory: Path
    limits: Limits
    rerun: Rerun
    executor: Executor

    def __enter__(self) -> Self:
        """Prepare the executor, in the background while the jobs are composed."""
        self.executor.__enter__()
        return self

    def __exit__(self, *reason: object) -> None:
        """End the jobs that still run."""
        self.executor.__exit__(*reason)

    @property
    def preview(self) -> bool:
        """Whether to print what would run, and run nothing."""
        return self.launcher.options.preview

    def job(self, overrides: Sequence[str], swept: Sequence[str]) -> Job:
        """Return the job of these overrides, with its directory; the `swept` ones name it."""
        composed = compose_job(self.launcher.config, overrides)
        own = [override for override in overrides if parse([override])[0].key_or_group not in ("name", "resume")]
        try:
            directory, name = Path(str(composed.hydra.sweep.dir)), str(composed.hydra.sweep.subdir)
        except OmegaConfBaseException as error:
            raise ConfigError(f"hydra.sweep does not name the jobs: {first_line(error)}") from error
        if directory != self.directory:
            raise ConfigError(
                f"hydra.sweep.dir is {self.directory} for one job and {directory} for another; use one for all"
            )
        is_ours = plain(composed.hydra.sweep)["subdir"] == OWN_SUBDIR
        named = [override for override in own if override in swept] if is_ours else [name]
        place = directory / _found(directory, job_digest(composed), named)
        if place.is_symlink():
            raise LeadsElsewhere(f"{place} is a link, and each job needs a real folder; put the folder itself there")
        return Job(place, own, kind_of(composed), goal_of(composed))

    def mistake(self, overrides: Sequence[str]) -> ConfigError | None:
        """Return the error in a job's config that shows before the job starts, else None."""
        composed = compose_job(self.launcher.config, overrides)
        try:
            checked(composed)
            check_modules(plain(composed))
        except ConfigError as error:
            return error
        return None

    @contextmanager
    def owned(self) -> Iterator[Stop]:
        """Create the directory, own it, and listen for a stop; RunInUse if another sweep owns it."""
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
        """Record these jobs, which have one goal, for the report."""
        kinds = {job.name: job.kind for job in jobs}
        write_record(self.directory, Record(*jobs[0].goal, {job.name: job.overrides for job in jobs}, kinds=kinds))

    def run(self, source: Source, total: int, stop: Stop) -> list[Ended]:
        """Run the jobs of the source, about `total`, and return how each ended.

        Reports the results so far before it raises an error that ends the sweep.
        """
        name = name_of(self.directory)
        flags = self.launcher.command.flags
        chosen = [override for override in self.launcher.config.hydra.overrides.hydra if override.startswith("hydra/")]

        def argv(job: Job) -> list[str]:
            # keep `chosen`: the user's own files may set keys that only this sweeper or launcher has
            several = flag_of(self.launcher.options.processes)
            return [sys.argv[0], *several, *flags, *chosen, *job.overrides, f"name={name}/{job.name}", "resume=auto"]

        schedule = Schedule(self.executor, source, self.limits, argv, display(total))
        try:
            return schedule.run(stop)
        except Exception:
            if schedule.done:
                with suppress(RunnerError):  # the same disk may fail again; raise the first error
                    report(self.directory, [end for end in schedule.done if end.failed])
            raise

    def set_aside(self, job: Job) -> None:
        """Move the directory of a job to rerun to superseded/, so that nothing is lost."""
        failed = self.rerun is Rerun.failed and need_of(job) is Need.again
        if (self.rerun is Rerun.all or failed) and job.directory.exists():
            target = self.directory / SUPERSEDED / f"{job.name}-{unique_name()}"
            target.parent.mkdir(exist_ok=True)
            job.directory.rename(target)

    def close(self, ended: Sequence[Ended], reason: str | None) -> None:
        """Report the results and, after a stop, print how to continue and exit; after Ctrl-C, as Ctrl-C does.

        The exit code is 1 if a job failed, else 75 if one was stopped.
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
        ConfigError: an option is invalid, or the sweep's directory is outside outputs/.
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
    """Return the metric and mode that rank all jobs.

    Raises:
        ConfigError: the jobs differ in metric or mode.
    """
    goals = {job.goal: job.name for job in jobs}
    if len(goals) == 1:
        return next(iter(goals))
    said = ", ".join(f"the {mode} of {monitor} ({name})" for (monitor, mode), name in goals.items())
    raise ConfigError(
        f"the jobs cannot be compared, since their checkpoint.monitor or checkpoint.mode differ: {said}; set both on "
        "the command line to rank all by one metric, or make a sweep of each"
    )


def _found(sweep: Path, digest: str, named: Sequence[str]) -> str:
    """Return the existing directory with this job's hash, else a new name from the swept overrides and the hash."""
    there = sorted(path.name for path in sweep.glob(f"*-{digest}") if not path.is_symlink())
    return there[0] if there else name_with(named, digest)


def returned(job: Job) -> JobReturn:
    """Return a job's result for Hydra: its best metric, None unless it finished with one."""
    status = read_status(job.directory)
    done = JobReturn(overrides=list(job.overrides), working_dir=str(job.directory), status=JobStatus.COMPLETED)
    done.return_value = status.best_metric if status is not None and status.state == "finished" else None
    return done
