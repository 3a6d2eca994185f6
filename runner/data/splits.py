"""The sets of a split: one, several by name, or none."""

from collections.abc import Mapping
from typing import Any


def sets_of(split: Any) -> dict[str, Any]:
    """Return the sets of a split by name: of a mapping each, of a single set that one under "", of None nothing."""
    if split is None:
        return {}
    named = isinstance(split, Mapping) and all(isinstance(name, str) for name in split)
    return dict(split) if named else {"": split}


def place_of(name: str, inner: str) -> str:
    """Return what belongs to a set, such as a metric, with the name of the set before it: `seen/loss`, or `loss`."""
    return f"{name}/{inner}" if name else inner
