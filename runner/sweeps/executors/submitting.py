"""Where an attempt is submitted to, through submitit: to Slurm, or to a trial of the same on this machine."""

import math
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from runner.errors import ConfigError
from runner.signals import ask_group_to_stop, deaf_children, kill_group
from runner.sweeps.executors.attempt import Attempt
from runner.sweeps.executors.request import Request

_REQUEUES = 1000  # times that a job may reach its time limit
_PATIENCE = 5.0  # seconds between two questions out of turn


class Cluster(Protocol):
    """Runs attempts, one after the other or at the same time, each known by the id that it gives it."""

    def submit(self, attempt: Attempt, name: str) -> str:
        """Return the id of a new job; RuntimeError or OSError if the cluster does not take it."""

    def is_there(self, job: str, folder: str) -> bool:
        """Return whether a job that another process submitted waits or runs; ConfigError if that cannot be known."""

    def is_over(self, job: str, folder: str, urgent: bool) -> bool:
        """Return whether a job has ended, as far as the cluster has told lately; sooner if it is urgent."""

    def stop(self, job: str, state: Mapping[str, Any]) -> bool:
        """Let a job stop after its step; one that waits is cancelled. Return whether that has reached it."""

    def end(self, job: str, state: Mapping[str, Any]) -> bool:
        """Let a job end at once, if it is there at all; return whether that has reached it."""


class Slurm:
    """Slurm, asked by its own commands."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._asked_at = -math.inf
        self._waiting: tuple[float, set[str]] = -math.inf, set()

    def submit(self, attempt: Attempt, name: str) -> str:
        """Have sbatch take it."""
        import submitit

        python = _python('"${PYTHONPATH:+:$PYTHONPATH}"')  # as `setup` leaves it
        executor = submitit.SlurmExecutor(attempt.folder, max_num_timeout=_REQUEUES, python=python)
        executor.update_parameters(**self._parameters(name))
        job = str(executor.submit(attempt).job_id)
        self._waiting[1].add(job)
        return job

    def _parameters(self, name: str) -> dict[str, Any]:
        asked = self._request
        parameters = {
            "job_name": name,
            "time": math.ceil(asked.time_limit / 60),
            "signal_delay_s": math.ceil(asked.stop_before),
            "partition": asked.partition,
            "account": asked.account,
            "qos": asked.qos,
            "constraint": asked.constraint,
            "cpus_per_task": asked.cpus,
            "gpus_per_node": asked.gpus,
            "mem": None if asked.memory is None else f"{math.ceil(asked.memory * 1024)}M",
            "setup": list(asked.setup) or None,
            "srun_args": [f"--cpus-per-task={asked.cpus}"] if asked.cpus else None,  # srun takes none from sbatch
            "additional_parameters": {"requeue": True, **asked.extra},
        }
        return {key: value for key, value in parameters.items() if value is not None}

    def is_there(self, job: str, folder: str) -> bool:
        """Ask squeue, once for all jobs."""
        asked_at, waiting = self._waiting
        if time.monotonic() - asked_at > 60:
            waiting = self._queue()
            self._waiting = time.monotonic(), waiting
        return job in waiting

    def _queue(self) -> set[str]:
        try:
            said = subprocess.run(["squeue", "--me", "--noheader", "--format=%A"], capture_output=True, text=True)
        except OSError as error:
            raise ConfigError(f"squeue cannot be asked what runs already ({error.strerror})") from error
        if said.returncode != 0:
            raise ConfigError(f"squeue does not say what runs already ({said.stderr.strip()}); try it again later")
        return set(said.stdout.split())

    def is_over(self, job: str, folder: str, urgent: bool) -> bool:
        """Ask submitit's watcher, which calls sacct for all jobs together, less and less often."""
        from submitit import SlurmJob

        urgent = urgent and time.monotonic() - self._asked_at > _PATIENCE
        if urgent:
            self._asked_at = time.monotonic()
        watcher = SlurmJob.watcher
        if watcher.get_state(job, mode="force" if urgent else "standard") == "PREEMPTED":
            with suppress(ConfigError):
                return not self.is_there(job, folder)  # submitit waits for it in vain where it is not queued again
        return bool(watcher.is_done(job, mode="cache"))

    def stop(self, job: str, state: Mapping[str, Any]) -> bool:
        """Cancel it if it waits, and send SIGTERM if it runs, which leaves it all the time that it needs."""
        _scancel("--state=PENDING", job)
        _scancel("--signal=TERM", job)
        self._asked_at = min(self._asked_at, time.monotonic() - _PATIENCE + 0.5)  # what waited is over soon
        return True

    def end(self, job: str, state: Mapping[str, Any]) -> bool:
        """Cancel it: SIGTERM, and SIGKILL half a minute later, or when the cluster thinks fit."""
        _scancel(job)
        return True


class Here:
    """This machine, by submitit's local executor: processes that go on without the one that started them."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._own: dict[str, Any] = {}

    def submit(self, attempt: Attempt, name: str) -> str:
        """Start it."""
        import submitit

        inherited = os.environ.get("PYTHONPATH")
        python = _python(shlex.quote(f"{os.pathsep}{inherited}") if inherited else "")  # no shell reads it
        executor = submitit.LocalExecutor(attempt.folder, max_num_timeout=_REQUEUES, python=python)
        executor.update_parameters(
            timeout_min=self._request.time_limit / 60,
            signal_delay_s=math.ceil(self._request.stop_before),
            gpus_per_node=self._request.gpus or 0,
            setup=list(self._request.setup),
        )
        with deaf_children():
            job = executor.submit(attempt)
        self._own[job.job_id] = job
        return str(job.job_id)

    def is_there(self, job: str, folder: str) -> bool:
        """Return whether a process of that number works in the folder."""
        with suppress(OSError):
            return folder.encode() in Path(f"/proc/{job}/cmdline").read_bytes()
        return False

    def is_over(self, job: str, folder: str, urgent: bool) -> bool:
        """Return whether its process has ended."""
        return bool(self._own[job].done()) if job in self._own else not self.is_there(job, folder)

    def stop(self, job: str, state: Mapping[str, Any]) -> bool:
        """Send SIGTERM to the run itself, once it is there."""
        if "pid" in state:
            ask_group_to_stop(state["pid"])
        return "pid" in state

    def end(self, job: str, state: Mapping[str, Any]) -> bool:
        """Send SIGKILL to the run itself, once it is there."""
        if "pid" in state:
            kill_group(state["pid"])
        return "pid" in state


def _scancel(*words: str) -> None:
    """Call scancel; what it complains of, a job that has ended say, is no matter."""
    with suppress(OSError):
        subprocess.run(["scancel", *words], capture_output=True)


def _python(inherited: str) -> str:
    """Return the command that starts a Python which finds what this one finds, in the script's own folder first.

    `inherited` is the rest of PYTHONPATH, as the shell knows it that runs the command.
    """
    folder = shlex.quote(str(Path(sys.argv[0]).resolve().parent))
    return f"env PYTHONPATH={folder}{inherited} {shlex.quote(sys.executable)}"
