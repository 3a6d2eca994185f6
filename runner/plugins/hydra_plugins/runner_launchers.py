"""Our launchers as Hydra plugins; Hydra imports this at every start, so heavy imports wait for `launch`."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher


class LocalLauncher(Launcher):
    """Runs each job of a sweep as its own process on this machine."""

    name = "local"

    def __init__(self, **_: Any) -> None:
        """Ignore Hydra's arguments; `options` reads them from the config."""

    def setup(self, *, hydra_context: Any, task_function: Any, config: Any) -> None:
        """Store what Hydra passes."""
        self.context, self.command, self.config = hydra_context, task_function, config

    @cached_property
    def options(self) -> Any:
        """The options as a value of the schema; raises ConfigError if one is invalid."""
        from runner.wiring.schema import SWEEPING
        from runner.wiring.search.sweep_options import options_of

        return options_of(SWEEPING["hydra/launcher"][self.name], self.config.hydra.launcher, "hydra.launcher")

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs, and return their results."""
        from runner.commands.complaints import in_one_sentence
        from runner.commands.sweep.grid import run_grid

        with in_one_sentence():
            return run_grid(self, job_overrides)

    def executor(self, at_a_time: int) -> Any:
        """Return an executor of `at_a_time` jobs at a time.

        Raises:
            ConfigError: an option of the launcher is invalid, or a requirement is missing.
        """
        from runner.sweeps.executors.local import local_executor

        return local_executor(at_a_time, self.options.processes)

    def slots(self) -> int:
        """Return how many jobs run at a time if `n_jobs` is not set."""
        from runner.sweeps.executors.local import visible_gpus

        processes: int = self.options.processes
        return max(1, len(visible_gpus()) // processes)


class SlurmLauncher(LocalLauncher):
    """Runs each job of a sweep as a Slurm job, through submitit."""

    name = "slurm"

    def executor(self, at_a_time: int) -> Any:
        """Return an executor that submits jobs and follows them.

        Raises:
            ConfigError: an option of the launcher is invalid, or a requirement is missing.
        """
        from runner.commands.sweep.clusters import slurm_executor

        return slurm_executor(self.options, str(self.config.hydra.sweep.dir))

    def slots(self) -> int:
        """Return a number that no sweep reaches, since the cluster queues the jobs."""
        return 10_000


class RayLauncher(LocalLauncher):
    """Runs each job of a sweep as its own process wherever Ray finds room."""

    name = "ray"

    def executor(self, at_a_time: int) -> Any:
        """Return an executor that hands jobs to Ray; raises ConfigError as above."""
        from runner.commands.sweep.clusters import ray_executor

        return ray_executor(self.options)

    def slots(self) -> int:
        """Return how many jobs this machine takes, or the most to hand to a cluster; raises ConfigError."""
        from runner.commands.sweep.clusters import ray_slots

        return ray_slots(self.options)
