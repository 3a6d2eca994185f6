"""`runner.json`: a summary in the checkpoint's archive that any tool can read; torch ignores it.

It holds the entries that are not states, and the dtype and shape of each tensor in the states.
"""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from runner.checkpoint.reader.entries import SUFFIX
from runner.checkpoint.reader.tree import brief, leaves

_quoted = json.JSONEncoder().encode  # of text, without the checks of `dumps`
MEMBER = "runner.json"
_LONGEST = 1 << 256  # a larger integer is described, not written


def summary(entries: Mapping[str, Any]) -> bytes:
    """Return the text of `runner.json` for entries with tensors, or with their facts."""
    states = {name: value for name, value in entries.items() if name.endswith(SUFFIX)}
    said = {name: _json(value) for name, value in entries.items() if name not in states}
    text = json.dumps({**said, "tensors": {}}).removesuffix("}}")
    return f"{text}{', '.join(_tensors(states))}}}}}".encode("ascii")


def _tensors(states: Mapping[str, Any]) -> Iterator[str]:
    """Yield each tensor's line; text only, since thousands of small objects would set off the garbage collector."""
    forms: dict[Any, str] = {}
    for name, leaf in leaves(states):
        if hasattr(leaf, "dtype") and hasattr(leaf, "shape"):
            kind = leaf.dtype, leaf.shape
            if kind not in forms:
                forms[kind] = json.dumps({"dtype": str(leaf.dtype), "shape": list(leaf.shape)})
            yield f"{_quoted(name)}: {forms[kind]}"


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
