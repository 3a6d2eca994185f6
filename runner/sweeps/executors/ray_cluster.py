"""Jobs on Ray: an actor beside each job starts its process and relays signals.

https://docs.ray.io/en/latest/ray-core/actors.html
"""

import logging
import os
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import ray
from ray.exceptions import RayError, RayTaskError

from runner.errors import ClusterMissing
from runner.exit_codes import INTERRUPTED
from runner.signals import sigterm_kept
from runner.sweeps.executors.executor import KILLED, Event, Order
from runner.sweeps.executors.ray_companion import Companion, Process, is_of_devices
from runner.text import first_line

_STORE = 80 * 2**20  # bytes of shared memory, about Ray's minimum; jobs use none
_LAG = 10.0  # seconds until this host sees another host's file on a shared file system
_PATIENCE = 10.0  # seconds for a cluster to accept a connection
_CALLS = 4  # concurrent calls to a companion: wait for the job, tell its start, stop it, kill it


@dataclass(frozen=True)
class Share:
    """The resources of one job."""

    cpus: int
    gpus: float
    resources: Mapping[str, float]

    def fits(self, node: Mapping[str, float]) -> bool:
        """Return whether a node with these resources, by Ray's names, can run a job."""
        wanted = {"CPU": self.cpus, "GPU": self.gpus, **self.resources}
        return all(node.get(name, 0) >= amount for name, amount in wanted.items())

    def __str__(self) -> str:
        """Return the share as typed on the command line."""
        resources = ",".join(f"{name}:{amount:g}" for name, amount in self.resources.items())
        return f"cpus={self.cpus} gpus={self.gpus:g} resources={{{resources}}}"


@dataclass
class _Placed:
    """A job at Ray, with the futures of its start and of its exit code."""

    order: Order
    companion: Any
    began: Any
    code: Any
    at_work: bool = False


class RayCluster:
    """Runs jobs on an existing Ray cluster, or on a local node that lives as long as the sweep."""

    def __init__(self, entry: str, *, address: str | None, share: Share) -> None:
        """Run `entry`, a module with a `main`, for each job; without an address, on a local node."""
        self._entry, self._address, self._share = entry, address, share
        self.lag = _LAG if address else 0.0
        self._jobs: dict[int, _Placed] = {}
        self._cancelled: list[Event] = []

    def __enter__(self) -> Self:
        """Connect later, with the first job: starting Ray takes many seconds."""
        return self

    def _connect(self) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else Ray asks about usage reports, and sends them
        own: dict[str, Any] = {} if self._address else {"include_dashboard": False, "object_store_memory": _STORE}
        try:
            _probe(self._address or "")
            with sigterm_kept():  # Ray would exit at once
                ray.init(self._address or "local", log_to_driver=False, logging_level=logging.ERROR, **own)
        except (OSError, RuntimeError, ValueError, RayError) as error:
            raise ClusterMissing(self._unreachable(error)) from error
        self._check_room()

    def _unreachable(self, error: Exception) -> str:
        said = first_line(error)
        if self._address is None:
            return f"Ray could not start a node on this machine: {said}"
        return f"no Ray cluster answers at hydra.launcher.address={self._address}: {said}"

    def _check_room(self) -> None:
        if any(node["Alive"] and self._share.fits(node["Resources"]) for node in ray.nodes()):
            return
        if self._address is None:
            ray.shutdown()
            raise ClusterMissing(f"this machine cannot give a job {self._share}; ask for less, or set an address")
        print(f"no node of the cluster has {self._share} for a job; jobs wait until one has", file=sys.stderr)

    def __exit__(self, *_: object) -> None:
        """Kill the jobs that still run, and stop a local node."""
        for number in list(self._jobs):
            ray.kill(self._jobs.pop(number).companion)
        ray.shutdown()

    def start(self, order: Order) -> None:
        """Hand the job to Ray, which starts it when there is room.

        Raises:
            ClusterMissing: no cluster answers, or this machine cannot run a job of this size.
        """
        if not ray.is_initialized():
            self._connect()
        os.makedirs(os.path.dirname(order.log), exist_ok=True)
        process = Process(
            self._entry,
            tuple(sys.path),
            tuple(order.argv),
            os.path.abspath(order.log),
            os.getcwd(),
            self._environment(),
        )
        actor = ray.remote(Companion).options(
            num_cpus=self._share.cpus,
            num_gpus=self._share.gpus,
            resources=dict(self._share.resources),
            max_concurrency=_CALLS,
        )
        companion = actor.remote(process)
        self._jobs[order.number] = _Placed(order, companion, companion.began.remote(), companion.run.remote())

    def _environment(self) -> dict[str, str]:
        """Return this process's environment without the device variables, which Ray sets."""
        environment = {name: value for name, value in os.environ.items() if not is_of_devices(name)}
        environment.setdefault("OMP_NUM_THREADS", str(self._share.cpus))
        return environment if self._share.gpus else {**environment, "CUDA_VISIBLE_DEVICES": ""}

    def events(self, timeout: float) -> list[Event]:
        """Return Ray's events, and those of jobs cancelled before they started."""
        events, self._cancelled = self._cancelled, []
        awaited = {job.code if job.at_work else job.began: number for number, job in self._jobs.items()}
        if not awaited:
            time.sleep(0 if events else timeout)
            return events
        ready, _ = ray.wait(list(awaited), num_returns=1, timeout=0 if events else timeout)
        return events + [self._event(awaited[reference]) for reference in ready]

    def _event(self, number: int) -> Event:
        job = self._jobs[number]
        try:
            if not job.at_work:
                ray.get(job.began)
                job.at_work = True
                return Event(number)
            code = int(ray.get(job.code))
        except RayTaskError as error:  # for example, the node has no such directory
            code = _noted(job, f"the job could not be started: {error.cause!r}", 1)
        except RayError as error:  # its node is gone, or its companion was killed, for example out of memory
            code = _noted(job, f"the job was lost: {error}", KILLED)
        del self._jobs[number]
        return Event(number, code)

    def ask_to_stop(self, number: int) -> None:
        """Send SIGTERM to the job; cancel one that still waits for room."""
        if (job := self._jobs.get(number)) is not None:
            if job.at_work:
                job.companion.ask_to_stop.remote()
            else:
                self._cancel(number, INTERRUPTED)

    def kill(self, number: int) -> None:
        """Send SIGKILL to the job and its loader workers."""
        if (job := self._jobs.get(number)) is not None:
            if job.at_work:
                job.companion.kill.remote()
            else:
                self._cancel(number, KILLED)

    def _cancel(self, number: int, code: int) -> None:
        ray.kill(self._jobs.pop(number).companion)
        self._cancelled.append(Event(number, code))


def _probe(address: str) -> None:
    """Raise OSError if nothing listens at `host:port`; Ray would need most of a minute to find out."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon:
        socket.create_connection((host.strip("[]"), int(port)), _PATIENCE).close()


def _noted(job: _Placed, text: str, code: int) -> int:
    """Append the reason to the job's log, and return the code."""
    with open(job.order.log, "a", encoding="utf-8") as log:
        log.write(f"{text}\n")
    return code
