"""`-m` on this machine: the finished is skipped, the interrupted resumed, the missing run; then come the results."""

import logging
import os
import re
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus, configure_log

from runner.commands.report import report
from runner.commands.sweep import Job as Command
from runner.errors import ConfigError
from runner.files import Disk, make_directory
from runner.run_directory.environment import describe_environment
from runner.run_directory.names import name_with, unique_name
from runner.run_directory.ownership import Ownership
from runner.run_directory.status import read_status
from runner.signals import Stop, die_by_sigint, parse_duration
from runner.sweeps.display import display
from runner.sweeps.jobs import Job, Need, Rerun, made_by_other_code, need_of
from runner.sweeps.results import Record, write_record
from runner.sweeps.schedule import STOPPED, Ended, Limits, Schedule, visible_gpus
from runner.sweeps.server import Server
from runner.wiring.arguments import parse
from runner.wiring.compose import plain
from runner.wiring.placing import OUTPUTS

log = logging.getLogger("runner")
SUPERSEDED = "superseded"
_OURS = re.compile(r".*-([0-9a-f]{8})")


def launch(
    config: Any, context: Any, command: Command, overrides: Sequence[Sequence[str]], options: Mapping[str, Any]
) -> list[JobReturn]:
    """Run the jobs of a sweep, report, and return the best metric of each.

    Raises:
        RunInUse: another sweep of this name is going on.
        ConfigError: an option is wrong, or the sweep is to lie elsewhere than in outputs/.
        SystemExit: a stop was asked for.
    """
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    limits, rerun = _limits(options)
    sweep = Path(str(config.hydra.sweep.dir))
    if not sweep.resolve().is_relative_to(OUTPUTS.resolve()) or sweep.resolve() == OUTPUTS.resolve():
        raise ConfigError(f"hydra.sweep.dir={sweep} is not below outputs/; use name=, or hydra/launcher=basic")
    swept = _swept(overrides)
    jobs = [_job(config, context, words, swept) for words in overrides]
    distinct = list({job.directory: job for job in jobs}.values())
    wanted = _wanted(distinct, rerun)
    if options["preview"]:
        _preview(distinct, wanted)
        return []
    command.entered = True
    goal = plain(config)["checkpoint"]
    make_directory(sweep, Disk())
    with Ownership() as ownership:  # a second sweep of this name is refused
        ownership.take(sweep)
        ownership.sign()
        write_record(sweep, Record(goal["monitor"], goal["mode"], {job.name: job.words for job in distinct}))
        ended, reason = _run(sweep, wanted, limits, command, rerun)
        report(sweep, [end for end in ended if end.failed])
    _leave(command, ended, reason)
    return [_returned(job) for job in jobs]


def _limits(options: Mapping[str, Any]) -> tuple[Limits, Rerun]:
    at_a_time = options["n_jobs"] or max(1, len(visible_gpus()))
    for key, least in (("n_jobs", 1), ("retries", 0)):
        if options[key] is not None and (type(options[key]) is not int or options[key] < least):
            raise ConfigError(f"hydra.launcher.{key}={options[key]} cannot be: it must be a number from {least} on")
    for key, known in (("on_failure", ("continue", "stop")), ("rerun", ("none", "failed", "all"))):
        if options[key] not in known:
            raise ConfigError(f"hydra.launcher.{key}={options[key]} cannot be: choose {', '.join(known)}")
    timeout = parse_duration(options["job_timeout"], key="hydra.launcher.job_timeout")
    return Limits(at_a_time, options["retries"], timeout, options["on_failure"] == "stop"), Rerun(options["rerun"])


def _swept(overrides: Sequence[Sequence[str]]) -> set[str]:
    """Return the words that not all jobs have; of a single job, all."""
    return {
        word for words in overrides for word in words if len(overrides) == 1 or any(word not in o for o in overrides)
    }


def _job(config: Any, context: Any, words: Sequence[str], swept: Collection[str]) -> Job:
    composed = context.config_loader.load_sweep_config(config, list(words))
    own = [word for word in words if parse([word])[0].key_or_group not in ("name", "resume")]
    sweep, name = Path(str(composed.hydra.sweep.dir)), str(composed.hydra.sweep.subdir)
    return Job(sweep / _found(sweep, name, [word for word in own if word in swept]), own)


def _found(sweep: Path, name: str, swept: Sequence[str]) -> str:
    """Return the directory that has this job's hash already, whatever was swept then; else a name by what is now."""
    if not (match := _OURS.fullmatch(name)):
        return name  # by a hydra.sweep.subdir of the user's own
    there = sorted(path.name for path in sweep.glob(f"*-{match[1]}") if not path.is_symlink())
    return there[0] if there else name_with(swept, match[1])


def _wanted(jobs: Sequence[Job], rerun: Rerun) -> list[Job]:
    """Return the jobs that have something left to do, and say of the others that they have not."""
    now = {**dict.fromkeys(("git_commit", "git_diff")), **describe_environment(sys.argv, "")}
    wanted = []
    for job in jobs:
        if need_of(job) is Need.nothing and rerun is not Rerun.all:
            old = made_by_other_code(job, now)
            note = ", made by other code than is here now (rerun it with hydra.launcher.rerun=all)" if old else ""
            print(f"{job.name}: finished already{note}")
        else:
            wanted.append(job)
    return wanted


def _preview(jobs: Sequence[Job], wanted: Sequence[Job]) -> None:
    for job in jobs:
        if job in wanted:
            print(f"{job.name}: {need_of(job).value}: {' '.join(job.words)}")
    print(f"{len(wanted)} of {len(jobs)} jobs would run")


def _run(
    sweep: Path, jobs: Sequence[Job], limits: Limits, command: Command, rerun: Rerun
) -> tuple[list[Ended], str | None]:
    """Run what is wanted; return how each ended, and why a stop was asked for."""
    if not jobs:
        return [], None
    for job in jobs:
        if rerun is Rerun.all or (rerun is Rerun.failed and need_of(job) is Need.again):
            _set_aside(job)
    name = sweep.resolve().relative_to(OUTPUTS.resolve())
    gpus = visible_gpus()
    places = [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in gpus] if _are_placed(jobs, gpus) else []
    threads = None if gpus or limits.at_a_time == 1 else max(1, len(os.sched_getaffinity(0)) // limits.at_a_time)
    if "OMP_NUM_THREADS" in os.environ:
        threads = None

    def argv(job: Job) -> list[str]:
        return [sys.argv[0], *command.flags, *job.words, f"name={name}/{job.name}", "resume=auto"]

    with Stop() as stop, Server("runner.commands.job_server") as server:
        schedule = Schedule(server, limits, places, threads, argv, display(len(jobs)))
        return schedule.run(jobs, stop), stop.requested()


def _are_placed(jobs: Sequence[Job], gpus: Sequence[str]) -> bool:
    """Return whether each job gets a GPU of its own: where there are several and no job names its own."""
    return len(gpus) > 1 and not any(word.lstrip("+").startswith("device.index=") for job in jobs for word in job.words)


def _set_aside(job: Job) -> None:
    """Move what a job had made, so that it begins anew and nothing is lost."""
    if job.directory.exists():
        target = job.directory.parent / SUPERSEDED / f"{job.name}-{unique_name()}"
        target.parent.mkdir(exist_ok=True)
        job.directory.rename(target)


def _leave(command: Command, ended: Sequence[Ended], reason: str | None) -> None:
    if any(end.failed for end in ended):
        command.exit_code = 1
    if reason == "SIGINT":
        logging.shutdown()
        die_by_sigint()
    if reason is not None or any(end.code == STOPPED for end in ended):
        raise SystemExit(STOPPED)


def _returned(job: Job) -> JobReturn:
    status = read_status(job.directory)
    done = JobReturn(overrides=list(job.words), working_dir=str(job.directory), status=JobStatus.COMPLETED)
    done.return_value = None if status is None else status.best_metric
    return done
