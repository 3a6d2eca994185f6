"""Cluster executors, made from their launchers' options."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from runner.errors import ConfigError
from runner.signals import parse_duration
from runner.sweeps.executors.local import visible_gpus
from runner.sweeps.executors.request import Request, check_machine
from runner.sweeps.executors.slurm import Queue
from runner.sweeps.jobs import LOGS, Rerun
from runner.wiring.schema.sweeping import Ray, Slurm

if TYPE_CHECKING:
    from runner.sweeps.executors.ray_cluster import RayCluster

_AT_RAY = 100  # jobs queued or running at a Ray cluster


def slurm_executor(options: Slurm, directory: str) -> Queue:
    """Return the executor that submits and follows the jobs of the sweep in a directory.

    Raises:
        ConfigError: this machine cannot submit jobs, or jobs to rerun are still queued or running.
    """
    check_machine(options.cluster.value)
    queue = Queue(request_of(options))
    if options.rerun is Rerun.all:
        queue.check_nothing_runs(Path(directory) / LOGS)
    return queue


def request_of(options: Slurm) -> Request:
    """Return the resources of each job."""
    names = (options.partition, options.account, options.qos, options.constraint)
    partition, account, qos, constraint = (None if name is None else str(name) for name in names)
    return Request(
        cluster=options.cluster.value,
        time_limit=parse_duration(options.time_limit) or 0.0,
        stop_before=parse_duration(options.stop_before) or 0.0,
        partition=partition,
        account=account,
        qos=qos,
        constraint=constraint,
        cpus=options.cpus,
        gpus=options.gpus,
        memory=options.memory,
        setup=options.setup,
        extra=options.extra,
    )


def ray_executor(options: Ray) -> "RayCluster":
    """Return the executor of a Ray cluster, not yet connected; ConfigError if Ray is not installed."""
    if find_spec("ray") is None:
        raise ConfigError('hydra/launcher=ray needs Ray: python -m pip install "runner-train[ray]"')
    from runner.sweeps.executors.ray_cluster import RayCluster, Share

    share = Share(options.cpus, options.gpus, options.resources or {})
    return RayCluster("runner.commands.sweep.cluster_job", address=options.address, share=share)


def ray_slots(options: Ray) -> int:
    """Return how many jobs this machine runs at once, or how many a cluster may queue."""
    if options.address is not None:
        return _AT_RAY
    room = (os.cpu_count() or 1) // options.cpus
    if options.gpus:
        room = min(room, int(len(visible_gpus()) / options.gpus))
    return max(1, room)
