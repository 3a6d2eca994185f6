"""The config of a run's newest attempt, of which only the sections that are asked for are parsed."""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from runner.errors import RunnerError
from runner.run_directory.attempts import newest_config
from runner.wiring.resume.stored_config import read_config

_SECTION = re.compile(r"([A-Za-z_]\w*):")
_OF_OURS = re.compile(r"\w+:\n  \S")
_NONE: Mapping[str, Any] = {}


class Settings:
    """A run's config by dotted keys; without a readable config it has none."""

    def __init__(self, run: Path) -> None:
        try:
            self._lines = newest_config(run)
        except (OSError, ValueError, RunnerError):
            self._lines = []
        self._sections = _sections(self._lines)

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, such as `optimizer.lr`, or the mapping of a section."""
        first, *rest = key.split(".")
        if len(rest) == 1 and (line := _line(self._sections.get(first, ""), rest[0])):
            return _parsed(line).get(rest[0], default)
        node: Any = self._section(first)
        for step in (first, *rest):
            if not isinstance(node, Mapping) or step not in node:
                return default
            node = node[step]
        return node

    def whole(self) -> Mapping[str, Any]:
        """Return the whole config."""
        return _parsed("\n".join(self._lines))

    def _section(self, name: str) -> Mapping[str, Any]:
        if name in self._sections and (found := _parsed(self._sections[name])):
            return found
        return self.whole() if self._lines and not self._sections else _NONE


def _sections(lines: list[str]) -> dict[str, str]:
    """Return the lines below each key at the root, by that key; a config in another style than ours has none."""
    return {name: "\n".join(lines[begin:end]) for name, begin, end in _bounds(lines)}


def _bounds(lines: list[str]) -> Iterator[tuple[str, int, int]]:
    heads = [(match[1], number) for number, line in enumerate(lines) if (match := _SECTION.match(line))]
    if heads and heads[0][1] == 0:
        ends = [number for _, number in heads[1:]] + [len(lines)]
        yield from ((name, begin, end) for (name, begin), end in zip(heads, ends, strict=True))


def _line(section: str, key: str) -> str | None:
    """Return the line of a key with a simple value, which is read five times as fast as its whole section."""
    found = re.findall(rf"^  ({re.escape(key)}: [\w.+-]+)$", section, re.MULTILINE)
    return found[0] if len(found) == 1 and _OF_OURS.match(section) else None


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Mapping[str, Any]:
    """Return the values in a part of a config; runs of one sweep have most parts in common."""
    try:
        return read_config(text, Path("config.yaml"))
    except RunnerError:
        return _NONE
