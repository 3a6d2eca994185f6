"""The words for launchers and sweepers, checked before Hydra answers them with riddles."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.types import IntervalSweep, Override
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from runner.errors import ConfigError
from runner.wiring.overrides.arguments import parse
from runner.wiring.overrides.keys import wanted
from runner.wiring.schema import SWEEPING

Options = TypeVar("Options")
_USUAL = {"launcher": "local", "sweeper": "basic"}
# What hydra-optuna-sweeper calls otherwise.
_INSTEAD = {
    "direction": "checkpoint.mode=min or max says it, of checkpoint.monitor",
    "study_name": "the study is found by name=",
    "storage": "the study is study.db in the sweep's directory",
    "n_jobs": "hydra.launcher.n_jobs says it",
    "search_space": "hydra.sweeper.params holds it",
}


def check_sweep_options(words: Sequence[str], config_dir: str | None) -> None:
    """Raise ConfigError for a launcher or sweeper that is not here, and for a key that the chosen one has not.

    What a user's own files choose is left to Hydra.
    """
    overrides = parse(words)
    of_files = config_dir is not None or any(override.key_or_group == "experiment" for override in overrides)
    chosen = _chosen(overrides, dict.fromkeys(_USUAL) if of_files else _USUAL)
    for group, name in chosen.items():
        there = _options(group)
        if config_dir is None and name not in (None, *there):
            raise ConfigError(
                f"there is no hydra/{group}={name} here; choose {', '.join(there)}, or install what brings it"
            )
    for override in overrides:
        _check(override, chosen)


def options_of(kind: type[Options], node: Any, place: str) -> Options:
    """Return the options of a launcher or a sweeper, in Hydra's config at `place`, as the schema has them.

    Raises:
        ConfigError: a key that it has not, a value of another type, or one that breaks a rule.
    """
    try:
        given = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else dict(node)
        options: Any = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(kind), given))
    except OmegaConfBaseException as error:
        key = ".".join(filter(None, (place, error.full_key)))
        raise ConfigError(f"{key} is invalid; {wanted(error)}") from error
    assert isinstance(options, kind)
    return options


def check_no_interval(overrides: Sequence[Override]) -> None:
    """Raise ConfigError for an interval, whose values a grid cannot list."""
    if found := [override for override in overrides if isinstance(override.value(), IntervalSweep)]:
        raise ConfigError(
            f"{found[0].input_line} is for a search, and a grid needs a list of values; add hydra/sweeper=optuna"
        )


def _chosen(overrides: Sequence[Override], usual: Mapping[str, Any]) -> dict[str, Any]:
    """Return the launcher and the sweeper that the words choose, or else the usual ones."""
    typed = {override.key_or_group: override.value() for override in overrides}
    return {group: typed.get(f"hydra/{group}", name) for group, name in usual.items()}


def _options(group: str) -> list[str]:
    ours = set(SWEEPING[f"hydra/{group}"])
    others = {name.removesuffix(".yaml") for name in ConfigStore.instance().repo.get("hydra", {}).get(group, {})}
    return sorted(ours | {name for name in others if name.isidentifier()})


def _check(override: Override, chosen: Mapping[str, Any]) -> None:
    word, place = str(override.input_line), override.key_or_group
    if place.startswith("hydra/sweeper/"):
        key = place.rpartition("/")[2]
        raise ConfigError(f"{word} cannot be: write hydra.sweeper.{key}=..., with a class of optuna.{key}s")
    root, _, rest = place.partition(".")
    group, _, key = rest.partition(".")
    if root != "hydra" or group not in chosen or not key:
        return
    keys, first = _keys(group, chosen[group]), key.partition(".")[0]
    if keys is not None and first not in keys:
        raise ConfigError(f"there is no hydra.{group}.{first}{_way_out(group, first, keys)}")
    if keys is not None and first in ("sampler", "pruner") and first != key:
        raise ConfigError(f"{word} cannot be: its arguments are 'hydra.sweeper.{first}_options={{...}}'")


def _keys(group: str, name: Any) -> Sequence[str] | None:
    """Return the keys of one of our launchers or sweepers, None of another's."""
    kind = SWEEPING[f"hydra/{group}"].get(name)
    return [field.name for field in fields(kind) if field.name != "_target_"] if kind else None


def _way_out(group: str, key: str, keys: Sequence[str]) -> str:
    others = [name for name in SWEEPING[f"hydra/{group}"] if key in (_keys(group, name) or ())]
    if others:
        return f" without hydra/{group}={others[0]}; add that"
    if group == "sweeper" and key in _INSTEAD:
        return f"; {_INSTEAD[key]}"
    return f"; there are {', '.join(keys)}"
