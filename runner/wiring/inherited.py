"""The config that a checkpoint holds, as today's words change it; what comes out of a file is data and no more."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf, open_dict

from runner.errors import CheckpointRefused, ConfigError
from runner.wiring.arguments import lineage, merge, own_options, parse
from runner.wiring.changes import Change, Use, check_allowed, differences, effective, flatten
from runner.wiring.compose import compose_config, plain, without_hydra

_LONGEST = 1 << 20  # characters of a config
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def effective_config(
    header: Mapping[str, Any],
    words: Sequence[str],
    *,
    searchpath: Sequence[str],
    checkpoint: Path,
    use: Use = Use.resume,
) -> tuple[DictConfig, list[str], list[Change]]:
    """Return the config of a checkpoint as today's words change it, the words of both, and the changes.

    Raises:
        ConfigError: a change that this use of it does not take.
        CheckpointRefused: a config that does more than hold values.
    """
    saved = flatten(read_config(str(header.get("config", "")), checkpoint))
    stored = lineage([str(word) for word in header.get("overrides", [])])
    overrides = merge(_available(stored, words, searchpath, checkpoint), words)
    inherited = [word for word in overrides if word not in words]
    _refuse_interpolations({word.split("=")[0].lstrip("+"): word for word in inherited}, checkpoint)
    config = compose_config([*searchpath, *overrides])
    before = flatten(plain(without_hydra(compose_config([*searchpath, *inherited]))))
    now = flatten(plain(without_hydra(config)))
    merged = effective(saved, before, now, [o.key_or_group for o in parse(words)])
    _refuse_interpolations({key: value for key, value in merged.items() if now.get(key) != value}, checkpoint)
    allowed = [str(key) for key in config.resume_allow]
    check_allowed(allowed, {*saved, *merged})
    changes = differences(saved, merged, allowed, use)
    _bring_to(config, now, merged)
    return config, merge(stored, words), changes


def read_config(text: str, path: Path) -> dict[str, Any]:
    """Return a config that comes out of a file: plain YAML of bounded size, without anchors.

    Raises:
        CheckpointRefused: anything else, or a key that belongs to Hydra.
    """
    try:
        if len(text) > _LONGEST or any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
            raise CheckpointRefused(f"{path} is refused: its config is too large or refers to itself")
        config = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise CheckpointRefused(f"{path} is refused: its config is not YAML") from error
    if not isinstance(config, dict) or not config:
        raise CheckpointRefused(f"{path} is refused: its config is empty")
    for key in config:
        if not isinstance(key, str) or not _KEY.fullmatch(key) or key in ("hydra", "defaults"):
            raise CheckpointRefused(f"{path} is refused: its config has the key {str(key)[:100]!r}, which no run has")
    return config


def _available(stored: list[str], words: Sequence[str], searchpath: Sequence[str], path: Path) -> list[str]:
    """Return the stored words less the options that today's config folders lack; their values are in the config."""
    loader = GlobalHydra.instance().config_loader()
    lost = {
        override.key_or_group: str(override.value())
        for override in parse(stored)
        if (options := loader.get_group_options(override.key_or_group))
        and str(override.value()) not in {*options, *own_options(searchpath, override.key_or_group)}
    }
    for override in parse(words):
        group = override.key_or_group.split(".")[0]
        if group in lost and group != override.key_or_group:
            raise ConfigError(
                f"{path} was made with {group}={lost[group]}, which is no option here, so {override.key_or_group} "
                "cannot be changed; add the --config-dir that has it"
            )
    return [word for word, o in zip(stored, parse(stored), strict=True) if o.key_or_group.split(".")[0] not in lost]


def _refuse_interpolations(values: Mapping[str, Any], path: Path) -> None:
    for key, value in values.items():
        if "${" in str(value):
            raise CheckpointRefused(
                f"{path} sets {key} to {value!r}, an interpolation, which a file may not do; set {key}= yourself"
            )


def _bring_to(config: DictConfig, now: Mapping[str, Any], merged: Mapping[str, Any]) -> None:
    """Give `config`, which is `now` when flat, the values of `merged`."""
    with open_dict(config):
        for root in {key.split(".")[0] for key in now.keys() ^ merged.keys()}:
            _replace(config, root, merged)  # of other keys: its option's schema does not fit any more
        for key, value in merged.items():
            if key in now and now[key] != value:
                OmegaConf.update(config, key, value, force_add=True)


def _replace(config: DictConfig, root: str, merged: Mapping[str, Any]) -> None:
    nested: dict[str, Any] = {}
    for key, value in merged.items():
        if key == root:
            nested = value
        elif key.startswith(f"{root}."):
            *parents, leaf = key.split(".")[1:]
            node = nested
            for parent in parents:
                node = node.setdefault(parent, {})
            node[leaf] = value
    config[root] = nested
