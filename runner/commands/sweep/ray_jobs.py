"""The options of the launcher `ray`: what a job takes, and where the cluster is."""

import math
import os
import re
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from runner.errors import ConfigError
from runner.sweeps.executors.local import visible_gpus

if TYPE_CHECKING:
    from runner.sweeps.executors.ray_cluster import RayCluster

_AT_RAY = 100  # jobs that wait in a cluster's own queue or run
_ADDRESS = re.compile(r"auto|(ray://)?\S+:\d{1,5}")


def ray_executor(options: Mapping[str, Any]) -> "RayCluster":
    """Return what runs jobs on a Ray cluster, not yet connected.

    Raises:
        ConfigError: an option cannot be, or Ray is not installed.
    """
    _check(options)
    if find_spec("ray") is None:
        raise ConfigError('hydra/launcher=ray needs Ray: python -m pip install "runner-train[ray]"')
    from runner.sweeps.executors.ray_cluster import RayCluster, Share

    resources = {str(name): float(amount) for name, amount in (options["resources"] or {}).items()}
    share = Share(options["cpus"], float(options["gpus"]), resources)
    return RayCluster("runner.commands.sweep.cluster_job", address=options["address"], share=share)


def ray_slots(options: Mapping[str, Any]) -> int:
    """Return how many jobs this machine takes at once, or how many at most are left to a cluster's own queue."""
    _check(options)
    if options["address"] is not None:
        return _AT_RAY
    room = (os.cpu_count() or 1) // int(options["cpus"])
    if options["gpus"]:
        room = min(room, int(len(visible_gpus()) / options["gpus"]))
    return max(1, room)


def _check(options: Mapping[str, Any]) -> None:
    address, cpus, gpus, resources = (options[key] for key in ("address", "cpus", "gpus", "resources"))
    if address is not None and not (isinstance(address, str) and _ADDRESS.fullmatch(address)):
        raise _wrong("address", address, "it must be auto, host:port or ray://host:port")
    if type(cpus) is not int or cpus < 1:
        raise _wrong("cpus", cpus, "it must be a number from 1 on")
    if not _is_amount(gpus) or (gpus > 1 and gpus != int(gpus)):
        raise _wrong("gpus", gpus, "it must be a number of GPUs, or a fraction of one")
    if resources is not None and not _are_amounts(resources):
        raise _wrong("resources", resources, "it must be amounts by name, such as {large_memory: 1}")


def _is_amount(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def _are_amounts(value: object) -> bool:
    return isinstance(value, Mapping) and all(_is_amount(amount) for amount in value.values())


def _wrong(key: str, found: object, wanted: str) -> ConfigError:
    return ConfigError(f"hydra.launcher.{key}={found} cannot be: {wanted}")
