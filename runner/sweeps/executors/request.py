"""What each job of a sweep asks of a cluster, and what this machine must have to submit it."""

import importlib.util
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.errors import ConfigError

_COMMANDS = ("sbatch", "srun", "scancel", "squeue", "sacct", "scontrol")


@dataclass(frozen=True)
class Request:
    """What a job asks for; None leaves it to the cluster."""

    cluster: str
    """`slurm`, or `local` for submitit's trial on this machine."""
    time_limit: float
    """Seconds."""
    stop_before: float
    """Seconds before the limit at which a job is asked to stop."""
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
    """Further options of sbatch, by their long names."""


def check_machine(cluster: str) -> None:
    """Raise ConfigError unless this machine has what submitting to this kind of cluster needs."""
    if importlib.util.find_spec("submitit") is None:
        raise ConfigError(
            'hydra/launcher=slurm needs submitit, which is not installed: python -m pip install "runner-train[slurm]"'
        )
    absent = next((command for command in _COMMANDS if shutil.which(command) is None), None)
    if cluster == "slurm" and absent is not None:
        raise ConfigError(
            f"hydra/launcher=slurm needs Slurm's {absent}, which is not on this machine; give the command on a login "
            f"node of the cluster, or try it out here with hydra.launcher.cluster=local"
        )
