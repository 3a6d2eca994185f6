"""Hydra's way to the launcher `local`: imported at every start, so that everything heavy waits for `launch`."""

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher


class LocalLauncher(Launcher):
    """Runs each job of a sweep as a process of its own on this machine."""

    def __init__(self, **options: Any) -> None:
        self._options = options

    def setup(self, *, hydra_context: Any, task_function: Any, config: Any) -> None:
        """Keep what Hydra hands over."""
        self._context, self._job, self._config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs, and return what came of each."""
        from runner.commands.local_sweep import launch
        from runner.commands.main import complain
        from runner.errors import RunnerError

        try:
            return launch(self._config, self._context, self._job, job_overrides, self._options)
        except RunnerError as error:  # Hydra would show its traceback
            raise SystemExit(complain(error)) from None
