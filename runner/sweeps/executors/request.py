"""What each job requests from a cluster, and what this machine needs to submit it."""

import importlib.util
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.errors import ConfigError

_COMMANDS = ("sbatch", "srun", "scancel", "squeue", "sacct", "scontrol")


@dataclass(frozen=True)
class Request:
    """The resources of a job; None takes the cluster's default."""

    cluster: str
    """`slurm`, or `local` for a trial on this machine by submitit."""
    time_limit: float
    """Seconds."""
    stop_before: float
    """Seconds before the time limit at which a job is asked to stop."""
    partition: str | None
    account: str | None
    qos: str | None
    constraint: str | None
    cpus: int | None
    gpus: int | None
    memory: float | None
    """GB."""
    setup: Sequence[str]
    extra: Mapping[str, Any]
    """Further sbatch options, by long name."""


def check_machine(cluster: str) -> None:
    """Raise ConfigError unless this machine can submit to this kind of cluster."""
    if importlib.util.find_spec("submitit") is None:
        raise ConfigError(
            'hydra/launcher=slurm needs submitit, which is not installed: python -m pip install "runner-train[slurm]"'
        )
    absent = next((command for command in _COMMANDS if shutil.which(command) is None), None)
    if cluster == "slurm" and absent is not None:
        raise ConfigError(
            f"hydra/launcher=slurm needs Slurm's {absent}, which is not on this machine; run the command on a "
            "login node of the cluster, or try it here with hydra.launcher.cluster=local"
        )
