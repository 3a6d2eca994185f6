"""A nested config as dotted keys."""

import re
from collections.abc import Mapping
from typing import Any

_KEY = re.compile(r"[\w/-]+")


def flatten(node: Any, prefix: str = "") -> dict[str, Any]:
    """Return a nested config as dotted keys; lists, and mappings with keys that no path can name, are values."""
    if isinstance(node, Mapping) and node and all(isinstance(key, str) and _KEY.fullmatch(key) for key in node):
        return {k: v for key, value in node.items() for k, v in flatten(value, f"{prefix}{key}.").items()}
    return {prefix.rstrip("."): node}
