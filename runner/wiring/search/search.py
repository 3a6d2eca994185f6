"""What a search is, checked as far as it can be before any of its jobs has run."""

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
from runner.wiring.search.space import read_space, words_of


@dataclass(frozen=True)
class SearchConfig:
    """A search of which nothing is made yet."""

    fixed: Sequence[str]
    """The words that all jobs have."""
    space: Sequence[Parameter]
    example: Sequence[str]
    """The words of values from amid the space."""
    monitor: str
    mode: str
    metrics: Mapping[str, str]
    """The objectives, and of each whether `min` or `max` is wanted."""
    n_trials: int
    seed: int
    sampler: str
    sampler_options: Mapping[str, Any]
    pruner: str | None
    pruner_options: Mapping[str, Any]


def read_search(
    options: Optuna, words: Sequence[str], loader: ConfigLoader, for_hydra: Sequence[str] = ()
) -> SearchConfig:
    """Return the search that Hydra's sweeper options and the words of the command line describe.

    `for_hydra` are the words that are for Hydra itself, without which nothing can be composed.

    Raises:
        ConfigError: an option or the space is wrong, or a config that would come of them.
    """
    fixed, space = read_space([*words_of(options.params or {}), *words], loader)
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
    """Return the first example of each key, and the config that they make; the others are composed as well."""
    first = [words[0] for words in examples]
    try:
        config = compose_config([*fixed, *first])
        values = checked(config)
        for place, words in enumerate(examples):
            for word in words[1:]:
                other = compose_config([*fixed, *first[:place], word, *first[place + 1 :]])
                if goal_of(other) != goal_of(config):
                    raise ConfigError(f"{word} cannot be: {another_goal(goal_of(other), goal_of(config))}")
    except ConfigError as error:
        way_out = "; whole numbers are searched by tag(int,interval(...))" if "use a whole number" in str(error) else ""
        raise ConfigError(f"{error}{way_out}") from error
    return first, values


def another_goal(one: tuple[str, str], other: tuple[str, str]) -> str:
    """Return the sentence that refuses a trial with another goal than the search has."""
    return (
        f"a search has one goal, and this is the {one[1]} of {one[0]}, not the {other[1]} of {other[0]}; give both for "
        f"all trials, such as checkpoint.monitor={other[0]} checkpoint.mode={other[1]}"
    )


def _metrics(metrics: Any, config: Config) -> dict[str, str]:
    """Return the objectives, by default the one that the best checkpoint is chosen by."""
    monitor, mode = config.checkpoint.monitor, config.checkpoint.mode.value
    if metrics is None:
        return {monitor: mode}
    if not isinstance(metrics, Mapping) or not metrics or not set(metrics.values()) <= {"min", "max"}:
        raise ConfigError(
            f"hydra.sweeper.metrics={metrics} is invalid; write such as "
            "'hydra.sweeper.metrics={val/loss: min, val/accuracy: max}'"
        )
    modes = {str(name): str(wanted) for name, wanted in metrics.items()}
    if modes.get(monitor, mode) != mode:
        raise ConfigError(f"hydra.sweeper.metrics wants {monitor} {modes[monitor]}, but checkpoint.mode is {mode}")
    if len(modes) == 1 and monitor not in modes:
        name, wanted = next(iter(modes.items()))
        raise ConfigError(
            f"hydra.sweeper.metrics={modes} is not what the best checkpoint is chosen by; leave it out, and give "
            f"checkpoint.monitor={name} checkpoint.mode={wanted}"
        )
    if len(modes) > 1 and not config.saves:
        raise ConfigError("several hydra.sweeper.metrics are read from best.tar, which checkpoint=off does not write")
    return modes


def _pruner(name: str | None, metrics: Mapping[str, str], config: Config) -> str | None:
    """Return the pruner, None if nothing is to be pruned."""
    if name is None or len(metrics) > 1:
        return None
    if not writes_table(config.tracker):
        raise ConfigError(
            f"hydra.sweeper.pruner={name} judges by metrics.csv, which this tracker does not write; take tracker=csv, "
            "or hydra.sweeper.pruner=null"
        )
    if not config.saves:
        raise ConfigError(
            f"hydra.sweeper.pruner={name} stops runs, which checkpoint=off does not allow; take "
            "hydra.sweeper.pruner=null"
        )
    return name
