"""Hydra's way to a search by Optuna: imported at every start, so that everything heavy waits for `sweep`."""

from collections.abc import Sequence
from typing import Any

from hydra.plugins.sweeper import Sweeper


class OptunaSweeper(Sweeper):
    """Lets Optuna choose the values of each job by what came of the earlier ones."""

    def __init__(self, **_: Any) -> None:
        """Take what Hydra made of the options, which are read from the config."""
        self._launcher: Any = None

    def setup(self, *, hydra_context: Any, task_function: Any, config: Any) -> None:
        """Keep what Hydra hands over, and the launcher that the config names."""
        from hydra.core.plugins import Plugins

        self._launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: Sequence[str]) -> None:
        """Search until the study has as many results as it is to have."""
        from runner.commands.complaints import in_one_sentence
        from runner.commands.sweep.search import run_search

        with in_one_sentence():
            run_search(self._launcher, arguments)
