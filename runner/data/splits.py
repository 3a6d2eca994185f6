"""The sets of a split: one, several by name, or none."""

from collections.abc import Mapping
from typing import Any


def sets_of(split: Any) -> dict[str, Any]:
    """Return the sets of a split by name: a mapping's own names, "" for a single set, and none for None."""
    if split is None:
        return {}
    named = isinstance(split, Mapping) and all(isinstance(name, str) for name in split)
    return dict(split) if named else {"": split}


def place_of(name: str, inner: str) -> str:
    """Return a name, such as a metric's, prefixed with its set's name: `seen/loss`, or `loss` for the set ""."""
    return f"{name}/{inner}" if name else inner
