"""What each job of a sweep asks of a cluster, checked before anything is submitted."""

import importlib.util
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.errors import ConfigError
from runner.signals import parse_duration

_COMMANDS = ("sbatch", "srun", "scancel", "squeue", "sacct", "scontrol")
_KEY = "hydra.launcher"


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


def read_request(options: Mapping[str, Any]) -> Request:
    """Return what the options of the launcher ask for.

    Raises:
        ConfigError: one is wrong, or what they need is not on this machine.
    """
    request = Request(
        cluster=_choice(options, "cluster", ("slurm", "local")),
        time_limit=_duration(options, "time_limit"),
        stop_before=_duration(options, "stop_before"),
        partition=_word(options, "partition"),
        account=_word(options, "account"),
        qos=_word(options, "qos"),
        constraint=_word(options, "constraint"),
        cpus=_count(options, "cpus"),
        gpus=_count(options, "gpus"),
        memory=_amount(options, "memory"),
        setup=_lines(options, "setup"),
        extra=_entries(options, "extra"),
    )
    if request.stop_before >= request.time_limit:
        raise ConfigError(
            f"{_KEY}.stop_before={options['stop_before']} is not less than time_limit={options['time_limit']}: "
            "a job would be asked to stop before it begins"
        )
    _check_machine(request.cluster)
    return request


def _check_machine(cluster: str) -> None:
    if importlib.util.find_spec("submitit") is None:
        raise ConfigError(
            'hydra/launcher=slurm needs submitit, which is not installed: python -m pip install "runner-train[slurm]"'
        )
    absent = next((command for command in _COMMANDS if shutil.which(command) is None), None)
    if cluster == "slurm" and absent is not None:
        raise ConfigError(
            f"hydra/launcher=slurm needs Slurm's {absent}, which is not on this machine; give the command on a login "
            f"node of the cluster, or try it out here with {_KEY}.cluster=local"
        )


def _wrong(options: Mapping[str, Any], key: str, wanted: str) -> ConfigError:
    return ConfigError(f"{_KEY}.{key}={options[key]} cannot be: {wanted}")


def _choice(options: Mapping[str, Any], key: str, known: Sequence[str]) -> str:
    if options[key] not in known:
        raise _wrong(options, key, f"choose {', '.join(known)}")
    return str(options[key])


def _duration(options: Mapping[str, Any], key: str) -> float:
    seconds = parse_duration(options[key], key=f"{_KEY}.{key}")
    if seconds is None:
        raise _wrong(options, key, "give seconds, or a duration such as 90s or 1h30m")
    return seconds


def _word(options: Mapping[str, Any], key: str) -> str | None:
    value = options[key]
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip() or "\n" in str(value):
        raise _wrong(options, key, "give a name that the cluster knows, or null")
    return str(value)


def _count(options: Mapping[str, Any], key: str) -> int | None:
    value = options[key]
    if value is not None and (type(value) is not int or value < 1):
        raise _wrong(options, key, "it must be a number from 1 on, or null")
    return value


def _amount(options: Mapping[str, Any], key: str) -> float | None:
    value = options[key]
    if value is not None and (type(value) not in (int, float) or not 0 < value < math.inf):
        raise _wrong(options, key, "give a number of GB, or null")
    return None if value is None else float(value)


def _lines(options: Mapping[str, Any], key: str) -> Sequence[str]:
    lines = options[key]
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise _wrong(options, key, "give a list of shell commands, such as ['module load cuda']")
    return lines


def _entries(options: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    entries = options[key]
    plain = isinstance(entries, dict) and all(isinstance(value, str | int | float) for value in entries.values())
    if not plain:
        raise _wrong(
            options, key, "give options of sbatch by their long names, such as +hydra.launcher.extra.reservation=mine"
        )
    return dict(entries)
