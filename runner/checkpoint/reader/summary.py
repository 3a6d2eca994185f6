"""`runner.json`: what a checkpoint says of itself, as a member that any tool reads; torch passes it over.

It holds the entries that are no states, and the dtype and shape of each tensor in the states.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

from runner.checkpoint.reader.schema import SUFFIX
from runner.checkpoint.reader.tree import brief, leaves

MEMBER = "runner.json"
_LONGEST = 1 << 256  # an integer from here on is told, not written


def summary(entries: Mapping[str, Any]) -> bytes:
    """Return the text of `runner.json` for entries of ours, with tensors or with the facts of them."""
    states = {name: value for name, value in entries.items() if name.endswith(SUFFIX)}
    said = {name: _json(value) for name, value in entries.items() if name not in states}
    tensors = {name: {"dtype": str(leaf.dtype), "shape": list(leaf.shape)} for name, leaf in _tensors(states)}
    return json.dumps({**said, "tensors": tensors}).encode("ascii")


def _tensors(states: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(name, leaf) for name, leaf in leaves(states) if hasattr(leaf, "dtype") and hasattr(leaf, "shape")]


def _json(value: Any) -> Any:
    """Return a plain value as JSON has it: what is not finite, and what JSON lacks, as text."""
    if isinstance(value, Mapping):
        return {str(key): _json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    known = value is None or isinstance(value, (str, bool, float)) or (type(value) is int and abs(value) < _LONGEST)
    return value if known else brief(value)
