"""Hydra's way to our launchers: imported at every start, so that everything heavy waits for `launch`."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher


class LocalLauncher(Launcher):
    """Runs each job of a sweep as a process of its own on this machine."""

    name = "local"

    def __init__(self, **_: Any) -> None:
        """Take what Hydra made of the options, which `options` reads from the config."""

    def setup(self, *, hydra_context: Any, task_function: Any, config: Any) -> None:
        """Keep what Hydra hands over."""
        self.context, self.command, self.config = hydra_context, task_function, config

    @cached_property
    def options(self) -> Any:
        """The options as the schema has them; ConfigError if one is wrong."""
        from runner.wiring.schema import SWEEPING
        from runner.wiring.search.sweep_options import options_of

        return options_of(SWEEPING["hydra/launcher"][self.name], self.config.hydra.launcher, "hydra.launcher")

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs, and return what came of each."""
        from runner.commands.complaints import in_one_sentence
        from runner.commands.sweep.grid import run_grid

        with in_one_sentence():
            return run_grid(self, job_overrides)

    def executor(self, at_a_time: int) -> Any:
        """Return what runs so many jobs at a time.

        Raises:
            ConfigError: an option of the launcher is wrong, or something that it needs is absent.
        """
        from runner.sweeps.executors.local import local_executor

        return local_executor(at_a_time)

    def slots(self) -> int:
        """Return how many jobs run at a time if `n_jobs` does not say."""
        from runner.sweeps.executors.local import visible_gpus

        return max(1, len(visible_gpus()))


class SlurmLauncher(LocalLauncher):
    """Runs each job of a sweep as a job of a cluster, through submitit."""

    name = "slurm"

    def executor(self, at_a_time: int) -> Any:
        """Return what submits jobs and follows them.

        Raises:
            ConfigError: an option of the launcher is wrong, or something that it needs is absent.
        """
        from runner.commands.sweep.clusters import slurm_executor

        return slurm_executor(self.options, str(self.config.hydra.sweep.dir))

    def slots(self) -> int:
        """Return a number that no sweep reaches: it is the cluster that lets jobs wait."""
        return 10_000


class RayLauncher(LocalLauncher):
    """Runs each job of a sweep as a process of its own wherever Ray finds room for it."""

    name = "ray"

    def executor(self, at_a_time: int) -> Any:
        """Return what hands jobs to Ray; ConfigError as above."""
        from runner.commands.sweep.clusters import ray_executor

        return ray_executor(self.options)

    def slots(self) -> int:
        """Return how many jobs this machine takes, or how many at most are handed to a cluster; ConfigError."""
        from runner.commands.sweep.clusters import ray_slots

        return ray_slots(self.options)
