"""Jobs wherever Ray finds room: each has an actor beside it, which starts its process and passes on what it is told.

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

_STORE = 80 * 2**20  # bytes of shared memory, of which jobs use none; it is about the least that Ray takes
_LAG = 10.0  # seconds until another host's file can be seen on a shared file system
_PATIENCE = 10.0  # seconds for a cluster to take a connection
_CALLS = 4  # to one companion at a time: it waits for its job, tells that it began, and is asked to end it


@dataclass(frozen=True)
class Share:
    """What one job takes of a node."""

    cpus: int
    gpus: float
    resources: Mapping[str, float]

    def fits(self, node: Mapping[str, float]) -> bool:
        """Return whether a node that has so much, by Ray's names, can run a job."""
        wanted = {"CPU": self.cpus, "GPU": self.gpus, **self.resources}
        return all(node.get(name, 0) >= amount for name, amount in wanted.items())

    def __str__(self) -> str:
        """Return it in the words of the command line."""
        resources = ",".join(f"{name}:{amount:g}" for name, amount in self.resources.items())
        return f"cpus={self.cpus} gpus={self.gpus:g} resources={{{resources}}}"


@dataclass
class _Placed:
    """A job that Ray has, and what it owes us: the word that the job began, and its code."""

    order: Order
    companion: Any
    began: Any
    code: Any
    at_work: bool = False


class RayCluster:
    """Jobs on a cluster that runs, or on a node of this machine that begins and ends with the sweep."""

    def __init__(self, entry: str, *, address: str | None, share: Share) -> None:
        """Let `entry`, a module with a `main`, be each job's; without an address, there is a node for the sweep."""
        self._entry, self._address, self._share = entry, address, share
        self.lag = _LAG if address else 0.0
        self._jobs: dict[int, _Placed] = {}
        self._cancelled: list[Event] = []

    def __enter__(self) -> Self:
        """Wait for the first job: it takes Ray many seconds to begin."""
        return self

    def _connect(self) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else it asks whether it may report, and reports
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
            raise ClusterMissing(f"this machine cannot give a job {self._share}; ask for less, or name a cluster")
        print(f"no node of the cluster has {self._share} for a job; they wait until one has", file=sys.stderr)

    def __exit__(self, *_: object) -> None:
        """End what still runs, and the node if it is the sweep's own."""
        for number in list(self._jobs):
            ray.kill(self._jobs.pop(number).companion)
        ray.shutdown()

    def start(self, order: Order) -> None:
        """Hand the job to Ray, which starts it as soon as there is room.

        Raises:
            ClusterMissing: there is none, or none that could ever run a job.
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
        """Return the sweep's own environment but for the devices, which are Ray's to choose."""
        environment = {name: value for name, value in os.environ.items() if not is_of_devices(name)}
        environment.setdefault("OMP_NUM_THREADS", str(self._share.cpus))
        return environment if self._share.gpus else {**environment, "CUDA_VISIBLE_DEVICES": ""}

    def events(self, timeout: float) -> list[Event]:
        """Return what Ray says of the jobs, and those that were never begun because a stop was asked for."""
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
        except RayTaskError as error:  # no such directory on that node, for example
            code = _noted(job, f"the job could not be started: {error.cause!r}", 1)
        except RayError as error:  # its node is gone, or its companion was killed, for want of memory say
            code = _noted(job, f"the job was lost: {error}", KILLED)
        del self._jobs[number]
        return Event(number, code)

    def ask_to_stop(self, number: int) -> None:
        """Send SIGTERM to the job; one that still waits for room is to be run another time."""
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
    """Raise OSError if nobody listens at `host:port`, of which Ray would take most of a minute to be sure."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon:
        socket.create_connection((host.strip("[]"), int(port)), _PATIENCE).close()


def _noted(job: _Placed, text: str, code: int) -> int:
    """Put into the job's log why there is nothing more in it; return the code."""
    with open(job.order.log, "a", encoding="utf-8") as log:
        log.write(f"{text}\n")
    return code
