"""The keys of launchers and sweepers, one class per option."""

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
    """Where submitit runs jobs."""

    slurm = "slurm"
    local = "local"


@dataclass
class Local:
    """One process per job on this machine; the same command again continues the sweep."""

    _target_: str = key("Class to build.")
    n_jobs: int | None = key("Jobs at a time; default: one per GPU (at least one), what fits with Ray, all with Slurm.")
    on_failure: OnFailure = key("After a failed job: continue, or stop (start no further job).")
    retries: int = key("Further attempts of a failed job.")
    job_timeout: Any = key("Time limit of one attempt, in seconds or as 1h30m, before it is killed.")
    processes: int = key("Processes of each job, which torchrun starts; 1 does without torchrun.")
    rerun: Rerun = key("Jobs that start over: none, failed or all; their old directories are set aside.")
    preview: bool = key("Only print what would run.")

    def __post_init__(self) -> None:
        require_positive(self, _LAUNCHER, "n_jobs", "processes")
        require_at_least_zero(self, _LAUNCHER, "retries")
        parse_duration(self.job_timeout, key=f"{_LAUNCHER}job_timeout")


@dataclass
class Ray(Local):
    """One process per job wherever Ray finds room, here or on a cluster; takes the keys of `local` as well."""

    address: str | None = key("auto, host:port or ray://host:port of a running cluster; default: this machine.")
    cpus: int = key("CPUs, and threads, per job.")
    gpus: float = key("GPUs per job; 0.5 lets two jobs share one; 0 hides them all.")
    resources: Any = key("Custom resources per job, by the cluster's names, such as {large_memory: 1}.")

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
    """One Slurm job per job of the sweep, through submitit; takes the keys of `local` as well."""

    cluster: SlurmKind = key("slurm, or local (a rehearsal on this machine).")
    time_limit: Any = key(
        "Time limit of one start, in seconds or as 1h30m; a job that reaches it saves, requeues and continues."
    )
    stop_before: Any = key("How long before the time limit a job is asked to stop.")
    partition: Any = key("Slurm partition.")
    account: Any = key("Slurm account.")
    qos: Any = key("Slurm quality of service.")
    constraint: Any = key("Slurm constraint on nodes.")
    cpus: int | None = key("CPUs per job.")
    gpus: int | None = key("GPUs per job.")
    memory: float | None = key("Memory per job, in GB.")
    setup: list[str] = key("Shell commands before each start of a job, such as 'module load cuda'.")
    extra: dict[str, Any] = key("Further sbatch options by their long names: +hydra.launcher.extra.reservation=mine.")

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
                "a job would be asked to stop before it starts"
            )


@dataclass
class Grid:
    """All combinations of the values on the command line and in `params`."""

    _target_: str = key("Class to build.")
    max_batch_size: int | None = key("Jobs per batch; null launches all at once.")
    params: Any = key("Values to sweep; those on the command line win.")

    def __post_init__(self) -> None:
        require_positive(self, _SWEEPER, "max_batch_size")
        require_mapping(self, _SWEEPER, "params")


@dataclass
class Optuna:
    """A search by Optuna, stored in study.db of the sweep's directory; the same command again continues it."""

    _target_: str = key("Class to build.")
    n_trials: int = key("Trials, finished or pruned, that end the search.")
    sampler: str = key("Class in optuna.samplers.")
    sampler_options: Any = key("Arguments of the sampler, such as {n_startup_trials: 5}.")
    seed: int = key("Seed of the sampler.")
    pruner: str | None = key("Class in optuna.pruners, or null; its steps are evaluations.")
    pruner_options: Any = key("Arguments of the pruner, such as {n_warmup_steps: 3}.")
    metrics: Any = key("Objectives, such as {val/loss: min, val/accuracy: max}; default: checkpoint.monitor.")
    params: Any = key("Search space, such as {optimizer.lr: 'interval(1e-4,1e-1)'}.")

    def __post_init__(self) -> None:
        require_positive(self, _SWEEPER, "n_trials")
        require_at_least_zero(self, _SWEEPER, "seed")
        require_mapping(self, _SWEEPER, "sampler_options", "pruner_options", "params")
