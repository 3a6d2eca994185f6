"""Checks of the overrides for launchers and sweepers, with clearer messages than Hydra's."""

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
# Keys of hydra-optuna-sweeper, and what replaces them.
_INSTEAD = {
    "direction": "use checkpoint.mode=min or max, for checkpoint.monitor",
    "study_name": "the study is found by name=",
    "storage": "the study is study.db in the sweep's directory",
    "n_jobs": "use hydra.launcher.n_jobs",
    "search_space": "use hydra.sweeper.params",
}


def check_sweep_options(overrides: Sequence[str], config_dir: str | None) -> None:
    """Raise ConfigError for an unknown launcher or sweeper, and for a key that the chosen one lacks.

    Hydra checks what the user's own files choose.
    """
    parsed = parse(overrides)
    of_files = config_dir is not None or any(override.key_or_group == "experiment" for override in parsed)
    chosen = _chosen(parsed, dict.fromkeys(_USUAL) if of_files else _USUAL)
    for group, name in chosen.items():
        there = _options(group)
        if config_dir is None and name not in (None, *there):
            raise ConfigError(
                f"there is no hydra/{group}={name} here; choose {', '.join(there)}, or install its package"
            )
    for override in parsed:
        _check(override, chosen)


def options_of(kind: type[Options], node: Any, place: str) -> Options:
    """Return the options of a launcher or sweeper, at `place` in Hydra's config, as a value of the schema.

    Raises:
        ConfigError: an unknown key, a value of the wrong type, or one that breaks a rule.
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
    """Raise ConfigError for an interval, which a grid cannot list."""
    if found := [override for override in overrides if isinstance(override.value(), IntervalSweep)]:
        raise ConfigError(
            f"{found[0].input_line} needs a search, since a grid takes a list of values; add hydra/sweeper=optuna"
        )


def _chosen(overrides: Sequence[Override], usual: Mapping[str, Any]) -> dict[str, Any]:
    """Return the launcher and the sweeper that the overrides choose, or the usual ones."""
    typed = {override.key_or_group: override.value() for override in overrides}
    return {group: typed.get(f"hydra/{group}", name) for group, name in usual.items()}


def _options(group: str) -> list[str]:
    ours = set(SWEEPING[f"hydra/{group}"])
    others = {name.removesuffix(".yaml") for name in ConfigStore.instance().repo.get("hydra", {}).get(group, {})}
    return sorted(ours | {name for name in others if name.isidentifier()})


def _check(override: Override, chosen: Mapping[str, Any]) -> None:
    text, place = str(override.input_line), override.key_or_group
    if place.startswith("hydra/sweeper/"):
        key = place.rpartition("/")[2]
        raise ConfigError(f"{text} is invalid; write hydra.sweeper.{key}=..., with a class of optuna.{key}s")
    root, _, rest = place.partition(".")
    group, _, key = rest.partition(".")
    if root != "hydra" or group not in chosen or not key:
        return
    keys, first = _keys(group, chosen[group]), key.partition(".")[0]
    if keys is not None and first not in keys:
        raise ConfigError(f"there is no hydra.{group}.{first}{_way_out(group, first, keys)}")
    if keys is not None and first in ("sampler", "pruner") and first != key:
        raise ConfigError(f"{text} is invalid; give its arguments as 'hydra.sweeper.{first}_options={{...}}'")


def _keys(group: str, name: Any) -> Sequence[str] | None:
    """Return the keys of one of our launchers or sweepers, None for another's."""
    kind = SWEEPING[f"hydra/{group}"].get(name)
    return [field.name for field in fields(kind) if field.name != "_target_"] if kind else None


def _way_out(group: str, key: str, keys: Sequence[str]) -> str:
    others = [name for name in SWEEPING[f"hydra/{group}"] if key in (_keys(group, name) or ())]
    if others:
        return f" without hydra/{group}={others[0]}; add that"
    if group == "sweeper" and key in _INSTEAD:
        return f"; {_INSTEAD[key]}"
    return f"; its keys are {', '.join(keys)}"
