"""`-m` over a grid: skips finished jobs, resumes interrupted ones, runs the rest."""

import sys
from collections import Counter
from collections.abc import Sequence

from hydra.core.utils import JobReturn

from runner.commands.sweep.command import Launcher, Sweep, check_one_goal, open_sweep, returned
from runner.run_directory.environment import describe_environment
from runner.signals import dying_by_sigint
from runner.sweeps.jobs import Job, Need, Rerun, made_by_other_code, need_of
from runner.sweeps.results.table import check_goal
from runner.sweeps.schedule import Listed


def run_grid(launcher: Launcher, overrides: Sequence[Sequence[str]]) -> list[JobReturn]:
    """Run the jobs of a sweep, report, and return the best metric of each.

    Raises:
        RunInUse: another sweep owns the directory.
        ConfigError: an option is invalid, or the directory holds something else.
        SystemExit: a stop was requested.
    """
    with open_sweep(launcher) as sweep:
        swept = _swept(overrides)
        with dying_by_sigint():
            jobs = [sweep.job(own, swept) for own in overrides]
            _check_one_can_run(sweep, overrides)
        check_goal(sweep.directory, *check_one_goal(jobs))
        distinct = list({job.directory: job for job in jobs}.values())
        wanted = _wanted(distinct, sweep.rerun)
        if sweep.preview:
            _preview(distinct, wanted)
            return []
        with sweep.owned() as stop:
            sweep.put_on_record(distinct)
            for job in wanted:
                sweep.set_aside(job)
            ended = sweep.run(Listed(wanted), len(wanted), stop)
            sweep.close(ended, stop.requested())
        return [returned(job) for job in jobs]


def _check_one_can_run(sweep: Sweep, overrides: Sequence[Sequence[str]]) -> None:
    """Raise the ConfigError of the first job if every job has one; a single bad job fails alone."""
    mistakes = []
    for own in overrides:
        mistakes.append(sweep.mistake(own))
        if mistakes[-1] is None:
            return
    if mistakes and mistakes[0] is not None:
        raise mistakes[0]


def _swept(overrides: Sequence[Sequence[str]]) -> list[str]:
    """Return the overrides that differ between the jobs; of a single job, all."""
    counts = Counter(override for own in overrides for override in dict.fromkeys(own))
    return [override for override, count in counts.items() if len(overrides) == 1 or count < len(overrides)]


def _wanted(jobs: Sequence[Job], rerun: Rerun) -> list[Job]:
    """Return the jobs to run, and print which ones are finished."""
    now = {**dict.fromkeys(("git_commit", "git_diff")), **describe_environment(sys.argv, "")}
    wanted = []
    for job in jobs:
        if need_of(job) is Need.nothing and rerun is not Rerun.all:
            old = made_by_other_code(job, now)
            note = ", made by other code than today's (rerun it with hydra.launcher.rerun=all)" if old else ""
            print(f"{job.name}: finished already{note}")
        else:
            wanted.append(job)
    return wanted


def _preview(jobs: Sequence[Job], wanted: Sequence[Job]) -> None:
    for job in jobs:
        if job in wanted:
            print(f"{job.name}: {need_of(job).value}: {' '.join(job.overrides)}")
    print(f"{len(wanted)} of {len(jobs)} jobs would run")
