"""A config as data: interpolations from key to key are resolved, and nothing else.

An interpolation that calls a resolver, such as `${oc.env:HOME}`, stays text.
"""

import re
from collections.abc import Mapping
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from runner.errors import ConfigError
from runner.wiring.config.compose import plain, without_hydra
from runner.wiring.config.flat import flatten
from runner.wiring.overrides.arguments import override_for

MOST_VALUES = 5_000
"""Limit on the values of a checkpoint's config; OmegaConf spends a tenth of a millisecond on each, several times."""

LONGEST = 1 << 20
"""Limit on the characters of a checkpoint's config."""

_DEEPEST = 30  # interpolations in a chain
_LONGEST_TEXT = 10_000  # characters of a text with interpolations
_WAY = re.compile(r"\$\{\s*(\.*)([^${}:.][^${}:]*)\}")
_LOST = object()


def settled(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain values with interpolations between keys resolved where they lead to values.

    Raises:
        ConfigError: the result has more than MOST_VALUES values.
    """
    values = _Values(config).of(config, ())
    assert isinstance(values, dict)
    return values


def text_of(config: DictConfig) -> str:
    """Return the text of a config for a checkpoint: settled YAML without Hydra's node.

    Raises:
        ConfigError: the text is too large to be read again.
    """
    values = settled(plain(without_hydra(config)))
    text = OmegaConf.to_yaml(values)
    if len(text) > LONGEST or sum(1 for _ in yaml.parse(text, Loader=LOADER)) > MOST_VALUES:
        raise _too_much()
    return text


def unsettled(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the dotted keys whose values still have interpolations."""
    return {key: value for key, value in flatten(config).items() if "${" in str(value)}


def needed_again(config: Mapping[str, Any]) -> list[str]:
    """Return the overrides that a resume must repeat, since a file may not call a resolver."""
    return [override_for(key, value) for key, value in unsettled(config).items()]


def _too_much() -> ConfigError:
    return ConfigError(
        f"the config has more than {MOST_VALUES} values, the limit of a checkpoint; "
        "keep long lists in a file of your own, and its path in the config"
    )


LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Loads plain values only; the C version is ten times as fast."""


class _Values:
    """Resolves the interpolations between the keys of one config."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root, self._depth, self._left = root, 0, MOST_VALUES

    def of(self, value: Any, place: tuple[Any, ...]) -> Any:
        """Return the settled value at `place`."""
        self._left -= 1
        if self._left < 0:
            raise _too_much()
        if isinstance(value, Mapping):
            return {key: self.of(item, (*place, key)) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.of(item, (*place, index)) for index, item in enumerate(value)]
        return self._settle(value, place) if isinstance(value, str) and "${" in value else value

    def _settle(self, text: str, place: tuple[Any, ...]) -> Any:
        """Return the resolved value of a text; the text itself if an interpolation leads nowhere or to a resolver."""
        if "\\" in text or len(text) > _LONGEST_TEXT or self._depth >= _DEEPEST:
            return text
        self._depth += 1
        found: Any = text
        while isinstance(found, str) and (way := _WAY.search(found)):
            value = self._follow(way[1], way[2], place)
            if value is _LOST or "${" in str(value) or len(found) > LONGEST:
                break
            found = value if way[0] == found else found[: way.start()] + str(value) + found[way.end() :]
        self._depth -= 1
        return text if "${" in str(found) else found

    def _follow(self, dots: str, path: str, place: tuple[Any, ...]) -> Any:
        """Return the settled value at the end of a path; leading dots make it relative to `place`."""
        start = place[: len(place) - len(dots)] if dots else ()
        steps = (*start, *filter(None, re.split(r"[.\[\]\s]+", path)))
        node: Any = self._root
        for count, step in enumerate(steps, start=1):
            try:
                node = node[int(step)] if isinstance(node, (list, tuple)) else node[step]
            except (KeyError, IndexError, TypeError, ValueError):
                return _LOST
            if isinstance(node, str) and count < len(steps):
                node = self._settle(node, steps[:count])
        return _LOST if node == "???" else self.of(node, steps)
