"""Walk the leaves of a nested state, and show values in bounded text."""

from collections.abc import Iterator, Mapping
from typing import Any

from runner.checkpoint.inert import Inert
from runner.text import printable

MOST_LEVELS = 64
_LONGEST_NAME = 250  # characters
_PLAIN = (type(None), str, int, float, complex, bytes, bytearray, set)


def leaves(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield each leaf of a state or checked structure with its dotted name, cut to a bounded length.

    A leaf is a tensor, a plain value or a list of plain values.
    """
    waiting: list[Iterator[tuple[str, Any]]] = [iter([("", value)])]
    while waiting:
        name, item = next(waiting[-1], (None, None))
        if name is None:
            waiting.pop()
        elif _is_branch(item):
            waiting.append(_children(name, item))
        else:
            yield name, item


def _is_branch(item: Any) -> bool:
    if isinstance(item, Mapping):
        return bool(item)
    return isinstance(item, (list, tuple)) and not all(isinstance(entry, _PLAIN) for entry in item)


def _children(name: str, item: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(item, Mapping):
        return ((f"{name}.{_text(key)}"[:_LONGEST_NAME] if name else _text(key), entry) for key, entry in item.items())
    return ((f"{name[:_LONGEST_NAME]}[{index}]", entry) for index, entry in enumerate(item))


def _text(key: Any) -> str:
    return key[:_LONGEST_NAME] if isinstance(key, str) else brief(key, _LONGEST_NAME)


def brief(value: Any, longest: int = 100) -> str:
    """Return any value as text of bounded length."""
    text = _brief(value, longest, 2)
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def glimpse(value: object, longest: int = 100) -> str:
    """Return any value as `printable` text of bounded length."""
    return printable(brief(value, longest))


def _brief(value: Any, longest: int, levels: int) -> str:
    if isinstance(value, str):
        return value[: longest + 1]
    if isinstance(value, (bytes, bytearray)):
        return f"{len(value)} bytes"
    if type(value) is int and abs(value) >= 1 << 256:
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, Inert):
        return f"<{value.name}>"
    if not isinstance(value, (Mapping, list, tuple, set)):
        return str(value)
    if not levels:
        return "..."
    first = [item for item, _ in zip(value, range(longest // 2), strict=False)]
    if isinstance(value, Mapping):
        pairs = ((key, value[key]) for key in first)
        return f"{{{', '.join(f'{_shown(k, longest, levels)}: {_shown(v, longest, levels)}' for k, v in pairs)}}}"
    inner = ", ".join(_shown(item, longest, levels) for item in first)
    if isinstance(value, set):
        return f"{{{inner}}}"
    return f"[{inner}]" if isinstance(value, list) else f"({inner}{',' if len(first) == 1 else ''})"


def _shown(value: Any, longest: int, levels: int) -> str:
    return repr(value[:longest]) if isinstance(value, str) else _brief(value, longest, levels - 1)
