"""The Optuna search as a Hydra plugin; Hydra imports this at every start, so heavy imports wait for `sweep`."""

from collections.abc import Sequence
from typing import Any

from hydra.plugins.sweeper import Sweeper


class OptunaSweeper(Sweeper):
    """Lets Optuna choose the values of each job from the results of earlier ones."""

    def __init__(self, **_: Any) -> None:
        """Ignore Hydra's arguments; the options are read from the config."""
        self._launcher: Any = None

    def setup(self, *, hydra_context: Any, task_function: Any, config: Any) -> None:
        """Build the launcher that the config names."""
        from hydra.core.plugins import Plugins

        self._launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: Sequence[str]) -> None:
        """Search until the study has its number of trials."""
        from runner.commands.complaints import in_one_sentence
        from runner.commands.sweep.search import run_search

        with in_one_sentence():
            run_search(self._launcher, arguments)
