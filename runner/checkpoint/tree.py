"""What is inside something nested, one leaf after the other, however deep or often repeated it is."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from runner.checkpoint.inert import Inert

MOST_LEVELS = 64
MOST_STEPS = 2_000_000
_LONGEST_KEY = 200  # characters


class TooMany(ValueError):
    """More leaves than any checkpoint has: it refers to itself, or to its parts again and again."""


def budget() -> Iterator[int]:
    """Return the steps that walks through one file may take together."""
    return iter(range(MOST_STEPS))


def leaves(value: Any, is_tensor: Callable[[Any], bool], steps: Iterator[int]) -> Iterator[tuple[str, Any]]:
    """Yield every tensor and every plain value under its dotted name; a list of plain values is one of them.

    Raises:
        TooMany: the walk uses up the steps.
    """
    waiting: list[Iterator[tuple[str, Any]]] = [iter([("", value)])]
    known: dict[int, bool] = {}  # a long list may stand in many places
    for _ in steps:
        while waiting and (entry := next(waiting[-1], None)) is None:
            waiting.pop()
        if not waiting:
            return
        assert entry is not None
        name, item = entry
        if id(item) not in known:
            known[id(item)] = _is_branch(item, is_tensor)
        if not known[id(item)]:
            yield name, item
        elif len(waiting) > MOST_LEVELS:
            yield name, Inert(f"nested deeper than {MOST_LEVELS} levels")
        else:
            waiting.append(_children(name, item))
    raise TooMany("it holds more values than any checkpoint, or the same ones again and again")


def _is_branch(item: Any, is_tensor: Callable[[Any], bool]) -> bool:
    if isinstance(item, Mapping):
        return bool(item)
    return isinstance(item, (list, tuple)) and any(isinstance(e, (Mapping, list, tuple)) or is_tensor(e) for e in item)


def _children(name: str, item: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(item, Mapping):
        return ((f"{name}.{_text(key)}" if name else _text(key), value) for key, value in item.items())
    return ((f"{name}[{index}]", value) for index, value in enumerate(item))


def _text(key: Any) -> str:
    return key[:_LONGEST_KEY] if isinstance(key, str) else brief(key, _LONGEST_KEY)


def brief(value: Any, longest: int = 100) -> str:
    """Return a value as text of bounded length, whatever it is."""
    text = _brief(value, longest, 2)
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def _brief(value: Any, longest: int, levels: int) -> str:
    if isinstance(value, str):
        return value[: longest + 1]
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if type(value) is int and abs(value) >= 1 << 256:
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, Inert):
        return f"<{value.name}>"
    if not isinstance(value, (Mapping, list, tuple)):
        return str(value)
    if not levels:
        return "..."
    first = [item for item, _ in zip(value, range(longest // 2), strict=False)]
    if isinstance(value, Mapping):
        pairs = ((key, value[key]) for key in first)
        return f"{{{', '.join(f'{_shown(k, longest, levels)}: {_shown(v, longest, levels)}' for k, v in pairs)}}}"
    inner = ", ".join(_shown(item, longest, levels) for item in first)
    return f"[{inner}]" if isinstance(value, list) else f"({inner}{',' if len(first) == 1 else ''})"


def _shown(value: Any, longest: int, levels: int) -> str:
    return repr(value[:longest]) if isinstance(value, str) else _brief(value, longest, levels - 1)
