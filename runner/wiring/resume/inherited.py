"""A run's config in place of what today's files say: plain data, under the schema's types."""

from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from runner.errors import CheckpointRefused
from runner.wiring import schema
from runner.wiring.config.compose import CONF, KEYS, plain
from runner.wiring.config.named import Named
from runner.wiring.config.settled import unsettled
from runner.wiring.overrides.arguments import OF_ONE_ATTEMPT
from runner.wiring.overrides.keys import wanted

_OBJECTS = ("model", "data", "learner", "optimizer", "scheduler")
"""The groups that build an object; a run keeps their nodes as they are, whatever keys today's options add."""

_WITH_KEYS = (*schema.OPTIONS, *schema.NESTED, "tracker")
MISSING = "???"
"""The value of a mandatory key that is not set."""


def _option(group: str, node: Any) -> str:
    """Return the option with the node's class, if the node has all its keys, else `own`."""
    if group == "scheduler" and not node:
        return "none"
    for path in sorted((CONF / group).glob("*.yaml")):
        keys = yaml.safe_load(path.read_text(encoding="utf-8"))
        same = keys.get("_target_") == node.get("_target_") and keys.keys() - {"defaults"} <= node.keys()
        if same and "defaults" in keys:  # they name its schema
            return path.stem
    return "own"


class Kept:
    """The values of a run's config, except those that today's overrides name."""

    def __init__(self, values: Mapping[str, Any], named: Named, path: Path) -> None:
        """Keep the values that neither belong to one attempt nor are named.

        Raises:
            CheckpointRefused: an unknown key, or a group without keys.
        """
        self._path, self._named = path, named
        own = {key: value for key, value in values.items() if key not in (*OF_ONE_ATTEMPT, *named.groups)}
        self._check(own)
        self.lost = unsettled(own)
        """Values with interpolations, by key: not kept, so the user must set them."""
        for key in self.lost:
            if key in _WITH_KEYS:
                raise CheckpointRefused(f"{path} is refused: {key} in its config has a key that cannot be set")
            own = _merged(own, _nested(key, MISSING))
        self.values: dict[str, Any] = reduce(_merged, named.values, own)

    def options(self) -> list[str]:
        """Return the overrides that choose, in each unnamed group, the option of `conf/` that has its form."""
        groups = [group for group in _OBJECTS if group not in self._named.groups]
        overrides = [f"{group}={_option(group, self.values.get(group, {}))}" for group in groups]
        saves = "checkpoint" in self._named.groups or "keep_last" in self.values.get("checkpoint", {})
        return overrides if saves else [*overrides, "checkpoint=off"]

    def put(self, config: DictConfig) -> None:
        """Put the kept values into a config composed of today's files.

        Raises:
            CheckpointRefused: a value of the wrong type.
        """
        for key in self.values.keys() & set(KEYS) - self._named.groups:
            try:
                self._put(config, key, self.values[key])
            except OmegaConfBaseException as error:
                place = error.full_key or key
                raise CheckpointRefused(f"{self._path} is refused: its {place} is invalid; {wanted(error)}") from error

    def _put(self, config: DictConfig, key: str, value: Any) -> None:
        if key not in _WITH_KEYS or (key in (*_OBJECTS, "tracker") and OmegaConf.get_type(config[key]) is dict):
            with open_dict(config):
                config[key] = value
            return
        known = plain(config[key])
        with open_dict(config[key]):
            for name, item in value.items():
                if name in known or key in _OBJECTS:  # elsewhere an unknown key never had an effect
                    config[key][name] = item

    def _check(self, values: Mapping[str, Any]) -> None:
        for key, value in values.items():
            if key not in KEYS and value is not None:
                raise CheckpointRefused(f"{self._path} is refused: its config has the key {key!r}, which no run has")
            if key in _WITH_KEYS and not (isinstance(value, Mapping) and all(isinstance(name, str) for name in value)):
                raise CheckpointRefused(
                    f"{self._path} is refused: {key} in its config is not a mapping of names to values"
                )


def _merged(values: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested values with others put over them."""
    merged = dict(values)
    for key, value in more.items():
        former = merged.get(key)
        both = isinstance(former, Mapping) and isinstance(value, Mapping)
        merged[key] = _merged(former, value) if both else value  # type: ignore[arg-type]
    return merged


def _nested(key: str, value: Any) -> dict[str, Any]:
    for name in reversed(key.split(".")):
        value = {name: value}
    nested: dict[str, Any] = value
    return nested
