"""Hydra's grid for our launchers, which compose every job themselves before anything is written."""

from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser


class GridSweeper(BasicSweeper):
    """Sweeps all combinations of values; with other launchers it is Hydra's basic sweeper."""

    def sweep(self, arguments: list[str]) -> Any:
        """Run the jobs batch by batch, and return their results."""
        from runner.commands.complaints import in_one_sentence
        from runner.wiring.schema.sweeping import Grid
        from runner.wiring.search.sweep_options import check_no_interval, options_of

        launcher: Any = self.launcher
        assert self.hydra_context is not None and self.config is not None
        with in_one_sentence():
            options_of(Grid, self.config.hydra.sweeper, "hydra.sweeper")
        if not hasattr(launcher, "executor"):
            return super().sweep(arguments)
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        with in_one_sentence():
            check_no_interval(overrides)
        returns, done = [], 0
        for batch in self.split_arguments(overrides, self.max_batch_size):
            returns.append(launcher.launch(batch, initial_job_idx=done))
            done += len(batch)
            if launcher.options.on_failure.name == "stop" and launcher.command.exit_code == 1:
                break
        return returns
