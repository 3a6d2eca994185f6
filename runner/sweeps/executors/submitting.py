"""Where submitit submits an attempt: to Slurm, or to this machine for a trial."""

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

_REQUEUES = 1000  # time limits that a job may reach
_PATIENCE = 5.0  # seconds between urgent queries


class Cluster(Protocol):
    """Runs attempts as jobs, each under an id of its own."""

    def submit(self, attempt: Attempt, name: str) -> str:
        """Submit an attempt and return the job's id; RuntimeError or OSError if the cluster rejects it."""

    def is_there(self, job: str, folder: str) -> bool:
        """Return whether another process's job is queued or running; ConfigError if the cluster does not answer."""

    def is_over(self, job: str, folder: str, urgent: bool) -> bool:
        """Return whether a job has ended, by the cluster's latest answer; `urgent` asks again sooner."""

    def stop(self, job: str, state: Mapping[str, Any]) -> bool:
        """Cancel a queued job, ask a running one to stop after its step; return whether the request was sent."""

    def end(self, job: str, state: Mapping[str, Any]) -> bool:
        """End a job at once; return whether the request was sent."""


class Slurm:
    """Slurm, through its own commands."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._asked_at = -math.inf
        self._waiting: tuple[float, set[str]] = -math.inf, set()

    def submit(self, attempt: Attempt, name: str) -> str:
        """Submit with sbatch."""
        import submitit

        python = _python('"${PYTHONPATH:+:$PYTHONPATH}"')  # PYTHONPATH as `setup` leaves it
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
            "srun_args": [f"--cpus-per-task={asked.cpus}"] if asked.cpus else None,  # srun does not inherit it
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
            raise ConfigError(f"squeue could not be run ({error.strerror}); run the command on a login node") from error
        if said.returncode != 0:
            raise ConfigError(f"squeue failed ({said.stderr.strip()}); try again later")
        return set(said.stdout.split())

    def is_over(self, job: str, folder: str, urgent: bool) -> bool:
        """Ask submitit's watcher, which calls sacct for all jobs together, ever less often."""
        from submitit import SlurmJob

        urgent = urgent and time.monotonic() - self._asked_at > _PATIENCE
        if urgent:
            self._asked_at = time.monotonic()
        watcher = SlurmJob.watcher
        if watcher.get_state(job, mode="force" if urgent else "standard") == "PREEMPTED":
            with suppress(ConfigError):
                return not self.is_there(job, folder)  # submitit would wait forever for a job that is not requeued
        return bool(watcher.is_done(job, mode="cache"))

    def stop(self, job: str, state: Mapping[str, Any]) -> bool:
        """Cancel a queued job, send SIGTERM to a running one; Slurm then sets it no deadline."""
        _scancel("--state=PENDING", job)
        _scancel("--signal=TERM", job)
        self._asked_at = min(self._asked_at, time.monotonic() - _PATIENCE + 0.5)  # a queued job is over soon
        return True

    def end(self, job: str, state: Mapping[str, Any]) -> bool:
        """Cancel the job: SIGTERM, then SIGKILL after the cluster's KillWait, half a minute by default."""
        _scancel(job)
        return True


class Here:
    """This machine, through submitit's local executor; its processes outlive this one."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._own: dict[str, Any] = {}

    def submit(self, attempt: Attempt, name: str) -> str:
        """Start the attempt's process."""
        import submitit

        inherited = os.environ.get("PYTHONPATH")
        python = _python(shlex.quote(f"{os.pathsep}{inherited}") if inherited else "")  # no shell expands it
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
        """Return whether this process id works in the folder."""
        with suppress(OSError):
            return folder.encode() in Path(f"/proc/{job}/cmdline").read_bytes()
        return False

    def is_over(self, job: str, folder: str, urgent: bool) -> bool:
        """Return whether the process has ended."""
        return bool(self._own[job].done()) if job in self._own else not self.is_there(job, folder)

    def stop(self, job: str, state: Mapping[str, Any]) -> bool:
        """Send SIGTERM to the run, once it has started."""
        if "pid" in state:
            ask_group_to_stop(state["pid"])
        return "pid" in state

    def end(self, job: str, state: Mapping[str, Any]) -> bool:
        """Send SIGKILL to the run, once it has started."""
        if "pid" in state:
            kill_group(state["pid"])
        return "pid" in state


def _scancel(*arguments: str) -> None:
    """Call scancel; ignore its complaints, for example that a job has ended."""
    with suppress(OSError):
        subprocess.run(["scancel", *arguments], capture_output=True)


def _python(inherited: str) -> str:
    """Return a command that starts Python with this script's folder first on PYTHONPATH.

    `inherited` is the rest of PYTHONPATH, as the shell that runs the command knows it.
    """
    folder = shlex.quote(str(Path(sys.argv[0]).resolve().parent))
    return f"env PYTHONPATH={folder}{inherited} {shlex.quote(sys.executable)}"
