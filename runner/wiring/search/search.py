"""A search, read from the config and checked before any of its jobs runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_loader import ConfigLoader

from runner.errors import ConfigError
from runner.sweeps.optuna.space import Parameter
from runner.wiring.config.compose import checked, compose_config, goal_of
from runner.wiring.schema import Config
from runner.wiring.schema.running import writes_table
from runner.wiring.schema.sweeping import Optuna
from runner.wiring.search.space import overrides_of, read_space


@dataclass(frozen=True)
class SearchConfig:
    """A search before anything is written."""

    fixed: Sequence[str]
    """The overrides of every job."""
    space: Sequence[Parameter]
    example: Sequence[str]
    """The overrides of one point of the space."""
    monitor: str
    mode: str
    metrics: Mapping[str, str]
    """The objectives, each with its mode, `min` or `max`."""
    n_trials: int
    seed: int
    sampler: str
    sampler_options: Mapping[str, Any]
    pruner: str | None
    pruner_options: Mapping[str, Any]


def read_search(
    options: Optuna, overrides: Sequence[str], loader: ConfigLoader, for_hydra: Sequence[str] = ()
) -> SearchConfig:
    """Return the search that the sweeper's options and the overrides describe.

    `for_hydra` are the overrides for Hydra itself, which composing needs.

    Raises:
        ConfigError: an option, the space, or a config from it is invalid.
    """
    fixed, space = read_space([*overrides_of(options.params or {}), *overrides], loader)
    first, config = _composed([*for_hydra, *fixed], [parameter.examples() for parameter in space])
    metrics = _metrics(options.metrics, config)
    return SearchConfig(
        fixed=fixed,
        space=space,
        example=first,
        monitor=config.checkpoint.monitor,
        mode=config.checkpoint.mode.value,
        metrics=metrics,
        n_trials=options.n_trials,
        seed=options.seed,
        sampler=options.sampler,
        sampler_options=options.sampler_options or {},
        pruner=_pruner(options.pruner, metrics, config),
        pruner_options=options.pruner_options or {},
    )


def _composed(fixed: Sequence[str], examples: Sequence[Sequence[str]]) -> tuple[list[str], Config]:
    """Return the first example of each key and their config; compose the other examples as a check."""
    first = [overrides[0] for overrides in examples]
    try:
        config = compose_config([*fixed, *first])
        values = checked(config)
        for place, overrides in enumerate(examples):
            for override in overrides[1:]:
                other = compose_config([*fixed, *first[:place], override, *first[place + 1 :]])
                if goal_of(other) != goal_of(config):
                    raise ConfigError(f"{override} is invalid: {another_goal(goal_of(other), goal_of(config))}")
    except ConfigError as error:
        way_out = "; search whole numbers with tag(int,interval(...))" if "use a whole number" in str(error) else ""
        raise ConfigError(f"{error}{way_out}") from error
    return first, values


def another_goal(one: tuple[str, str], other: tuple[str, str]) -> str:
    """Return the message that refuses a trial whose goal is not the search's."""
    return (
        f"a search has one goal, and this is the {one[1]} of {one[0]}, not the {other[1]} of {other[0]}; set both for "
        f"all trials, such as checkpoint.monitor={other[0]} checkpoint.mode={other[1]}"
    )


def _metrics(metrics: Any, config: Config) -> dict[str, str]:
    """Return the objectives; by default, the monitored metric."""
    monitor, mode = config.checkpoint.monitor, config.checkpoint.mode.value
    if metrics is None:
        return {monitor: mode}
    if not isinstance(metrics, Mapping) or not metrics or not set(metrics.values()) <= {"min", "max"}:
        raise ConfigError(
            f"hydra.sweeper.metrics={metrics} is invalid; write for example "
            "'hydra.sweeper.metrics={val/loss: min, val/accuracy: max}'"
        )
    modes = {str(name): str(wanted) for name, wanted in metrics.items()}
    if modes.get(monitor, mode) != mode:
        raise ConfigError(f"hydra.sweeper.metrics wants {monitor} {modes[monitor]}, but checkpoint.mode is {mode}")
    if len(modes) == 1 and monitor not in modes:
        name, wanted = next(iter(modes.items()))
        raise ConfigError(
            f"hydra.sweeper.metrics={modes} is not the metric that chooses the best checkpoint; leave it out, and set "
            f"checkpoint.monitor={name} checkpoint.mode={wanted}"
        )
    if len(modes) > 1 and not config.saves:
        raise ConfigError("several hydra.sweeper.metrics are read from best.tar, which checkpoint=off does not write")
    return modes


def _pruner(name: str | None, metrics: Mapping[str, str], config: Config) -> str | None:
    """Return the pruner's class, None for no pruning."""
    if name is None or len(metrics) > 1:
        return None
    if not writes_table(config.tracker):
        raise ConfigError(
            f"hydra.sweeper.pruner={name} reads metrics.csv, which this tracker does not write; take tracker=csv, "
            "or hydra.sweeper.pruner=null"
        )
    if not config.saves:
        raise ConfigError(
            f"hydra.sweeper.pruner={name} stops runs, which checkpoint=off does not allow; take "
            "hydra.sweeper.pruner=null"
        )
    return name
