"""`runner.json`: a summary in the checkpoint's archive that any tool can read; torch ignores it.

It holds the entries that are not states, and the dtype and shape of each tensor in the states.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

from runner.checkpoint.reader.entries import SUFFIX
from runner.checkpoint.reader.tree import brief, leaves

MEMBER = "runner.json"
_LONGEST = 1 << 256  # a larger integer is described, not written


def summary(entries: Mapping[str, Any]) -> bytes:
    """Return the text of `runner.json` for entries with tensors, or with their facts."""
    states = {name: value for name, value in entries.items() if name.endswith(SUFFIX)}
    said = {name: _json(value) for name, value in entries.items() if name not in states}
    tensors = {name: {"dtype": str(leaf.dtype), "shape": list(leaf.shape)} for name, leaf in _tensors(states)}
    return json.dumps({**said, "tensors": tensors}).encode("ascii")


def _tensors(states: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(name, leaf) for name, leaf in leaves(states) if hasattr(leaf, "dtype") and hasattr(leaf, "shape")]


def _json(value: Any) -> Any:
    """Return a plain value in JSON's types; numbers that are not finite, and unknown types, become text."""
    if isinstance(value, Mapping):
        return {str(key): _json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    known = value is None or isinstance(value, (str, bool, float)) or (type(value) is int and abs(value) < _LONGEST)
    return value if known else brief(value)
