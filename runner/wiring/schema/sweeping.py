"""The keys of how a sweep runs: launchers and sweepers, each option's in a class of its own."""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Any

from runner.errors import ConfigError
from runner.signals import parse_duration
from runner.sweeps.jobs import Rerun
from runner.wiring.schema.rules import key, require, require_at_least_zero, require_mapping, require_positive

_LAUNCHER, _SWEEPER = "hydra.launcher.", "hydra.sweeper."
_ADDRESS = re.compile(r"auto|(ray://)?\S+:\d{1,5}")

OnFailure = Enum("OnFailure", ["continue", "stop"])  # functional, since one name is a keyword


class SlurmKind(Enum):
    """Where submitit submits to."""

    slurm = "slurm"
    local = "local"


@dataclass
class Local:
    """A process a job on this machine; the same command again goes on where the sweep was."""

    _target_: str = key("The class that is built.")
    n_jobs: int | None = key(
        "Jobs at a time; by default one a GPU, or one, as many as Ray has room for, all with Slurm."
    )
    on_failure: OnFailure = key("continue, or stop: start no further job after a failure.")
    retries: int = key("Further attempts of a job that failed.")
    job_timeout: Any = key("Seconds, or 1h30m, that an attempt may take before it is killed.")
    rerun: Rerun = key("none, failed or all: which jobs begin anew, their former directories set aside.")
    preview: bool = key("Only say what would run.")

    def __post_init__(self) -> None:
        require_positive(self, _LAUNCHER, "n_jobs")
        require_at_least_zero(self, _LAUNCHER, "retries")
        parse_duration(self.job_timeout, key=f"{_LAUNCHER}job_timeout")


@dataclass
class Ray(Local):
    """A process a job wherever Ray finds room, here or on the nodes of a cluster, with the keys of `local` as well."""

    address: str | None = key("auto, host:port or ray://host:port of a running cluster; by default this machine.")
    cpus: int = key("Of a job, and its threads.")
    gpus: float = key("Of a job; 0.5 shares one between two; with 0 it sees none.")
    resources: Any = key("Of a job, by the cluster's names, such as {large_memory: 1}.")

    def __post_init__(self) -> None:
        super().__post_init__()
        fine = self.address is None or _ADDRESS.fullmatch(self.address) is not None
        require(fine, f"{_LAUNCHER}address", self.address, "auto, host:port or ray://host:port")
        require_positive(self, _LAUNCHER, "cpus")
        require_at_least_zero(self, _LAUNCHER, "gpus")
        shared = self.gpus <= 1 or self.gpus == int(self.gpus)
        require(shared, f"{_LAUNCHER}gpus", self.gpus, "a number of GPUs, or a fraction of one")
        require_mapping(self, _LAUNCHER, "resources")
        amounts = (self.resources or {}).values()
        fine = all(type(amount) in (int, float) and 0 <= amount < float("inf") for amount in amounts)
        require(fine, f"{_LAUNCHER}resources", self.resources, "amounts by name, such as {large_memory: 1}")


@dataclass
class Slurm(Local):
    """A job of a Slurm cluster for each job of the sweep, through submitit, with the keys of `local` as well."""

    cluster: SlurmKind = key("slurm, or local: a trial of the same on this machine.")
    time_limit: Any = key("Of one start of a job, seconds or 1h30m; at it a job saves, is queued again and goes on.")
    stop_before: Any = key("How long before that it is asked to stop.")
    partition: Any = key("A name that the cluster knows.")
    account: Any = key("A name that the cluster knows.")
    qos: Any = key("A name that the cluster knows.")
    constraint: Any = key("A name that the cluster knows.")
    cpus: int | None = key("Of a job.")
    gpus: int | None = key("Of a job.")
    memory: float | None = key("Of a job, in GB.")
    setup: list[str] = key("Shell commands before each start of a job, such as 'module load cuda'.")
    extra: dict[str, Any] = key("Options of sbatch by their long names: +hydra.launcher.extra.reservation=mine.")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, _LAUNCHER, "cpus", "gpus", "memory")
        self._check_times()
        for name in ("partition", "account", "qos", "constraint"):
            found = getattr(self, name)
            fine = found is None or (type(found) in (str, int) and bool(str(found).strip()) and "\n" not in str(found))
            require(fine, f"{_LAUNCHER}{name}", found, "a name that the cluster knows, or null")
        plain = all(isinstance(value, str | int | float) for value in self.extra.values())
        require(
            plain, f"{_LAUNCHER}extra", self.extra, "options of sbatch by their long names, such as {reservation: mine}"
        )

    def _check_times(self) -> None:
        times = {name: getattr(self, name) for name in ("time_limit", "stop_before")}
        seconds = [parse_duration(found, key=f"{_LAUNCHER}{name}") for name, found in times.items()]
        for (name, found), one in zip(times.items(), seconds, strict=True):
            require(one is not None, f"{_LAUNCHER}{name}", found, "seconds, or a duration such as 90s or 1h30m")
        if (seconds[1] or 0) >= (seconds[0] or 0):
            raise ConfigError(
                f"{_LAUNCHER}stop_before={self.stop_before} is not less than time_limit={self.time_limit}: "
                "a job would be asked to stop before it begins"
            )


@dataclass
class Grid:
    """All combinations of the values, or those of `params`."""

    _target_: str = key("The class that is built.")
    max_batch_size: int | None = key("Jobs that are begun together; all if null.")
    params: Any = key("Values to sweep, as on the command line and beneath it.")

    def __post_init__(self) -> None:
        require_positive(self, _SWEEPER, "max_batch_size")
        require_mapping(self, _SWEEPER, "params")


@dataclass
class Optuna:
    """A search by Optuna, kept in study.db of the sweep's directory; the same command again goes on with it."""

    _target_: str = key("The class that is built.")
    n_trials: int = key("Trials, finished or pruned, when the search is over.")
    sampler: str = key("A class of optuna.samplers.")
    sampler_options: Any = key("Its arguments, such as {n_startup_trials: 5}.")
    seed: int = key("Of the sampler.")
    pruner: str | None = key("A class of optuna.pruners, or null; its steps are evaluations.")
    pruner_options: Any = key("Its arguments, such as {n_warmup_steps: 3}.")
    metrics: Any = key("checkpoint.monitor; or several objectives, such as {val/loss: min, val/accuracy: max}.")
    params: Any = key("What to search, such as {optimizer.lr: 'interval(1e-4,1e-1)'}.")

    def __post_init__(self) -> None:
        require_positive(self, _SWEEPER, "n_trials")
        require_at_least_zero(self, _SWEEPER, "seed")
        require_mapping(self, _SWEEPER, "sampler_options", "pruner_options", "params")
