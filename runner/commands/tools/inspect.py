"""`python -m runner inspect`: every state_dict of a file as a table, in the tutorial's order, without torch."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from runner.checkpoint.inert import TensorFacts
from runner.checkpoint.listing import LAST, checkpoint_in
from runner.checkpoint.reader.contents import Contents, Kind, State, read_contents
from runner.checkpoint.reader.tree import brief, glimpse
from runner.text import printable

_MOST_ROWS = 2000  # on a terminal
_MOST_ITEMS = 200_000  # in JSON
_DESCRIBED = ("epoch", "global_step", "loss", "metrics", "created", "config", "format", "version")


def inspect_command(path: str, *, as_json: bool) -> int:
    """Print the content of a file without building, trusting or running anything in it."""
    contents = read_contents(checkpoint_in(Path(path), LAST))
    if as_json:
        print(json.dumps(_as_entries(contents), indent=2))
    else:
        print("\n".join(_as_text(contents)))
    return 0


def mebibytes(size: int) -> str:
    """Return a number of bytes as text in MiB."""
    return f"{size / 2**20:.3f} MiB"


def _as_text(contents: Contents) -> Iterator[str]:
    entries, whole = contents.entries, contents.whole
    yield f"{printable(contents.path)}: {', '.join([*_headline(entries), contents.kind.value])}"
    if contents.kind is Kind.ours:
        yield f"created {glimpse(entries.get('created', 'unknown'))}  metrics {glimpse(entries['metrics'], 1000)}"
    if contents.kind is Kind.safetensors:
        yield "this format has no checksums: damage inside a tensor goes unnoticed"
    for name, value in list(entries.items())[:_MOST_ROWS]:
        if name not in _DESCRIBED:
            yield f"{glimpse(name)}: {glimpse(value)}"
    for name, state in list(contents.states.items())[:_MOST_ROWS]:
        yield from _state_text(name, state)
    yield f"\ntotal: {_sum(whole)}; the file has {mebibytes(contents.size)}"
    if isinstance(config := entries.get("config"), str):
        yield "\nconfig:"
        yield from (f"  {glimpse(line, 500)}" for line in config[: 1 << 20].splitlines()[:_MOST_ROWS])


def _headline(entries: Mapping[str, Any]) -> Iterator[str]:
    if type(entries.get("epoch")) is int:
        yield f"epoch {glimpse(entries['epoch'])}"
    if type(entries.get("global_step")) is int:
        yield f"step {glimpse(entries['global_step'])}"
    if isinstance(entries.get("loss"), float):
        yield f"loss {entries['loss']:.6g}"


def _sum(state: State) -> str:
    return f"{len(state.tensors)} tensors, {state.elements} elements, {mebibytes(state.size)}"


def _state_text(name: str, state: State) -> Iterator[str]:
    yield f"\n{glimpse(name or 'state_dict', 200)}: {_sum(state)}"
    for key, value in state.leaves[:_MOST_ROWS]:
        yield f"  {glimpse(key, 200):<40} {_row(value)}".rstrip()
    if len(state.leaves) > _MOST_ROWS:
        yield f"  ... and {len(state.leaves) - _MOST_ROWS} more"


def _row(value: Any) -> str:
    if not isinstance(value, TensorFacts):
        return glimpse(value)
    kind = "" if value.name == "tensor" else f"  ({value.name})"
    return f"{value.shape!s:<24} {value.dtype:<14} {value.size} B{kind}"


def _as_entries(contents: Contents) -> dict[str, Any]:
    described = {name: _plain(contents.entries[name]) for name in _DESCRIBED if name in contents.entries}
    rest = [(name, value) for name, value in contents.entries.items() if name not in _DESCRIBED]
    return {
        "path": str(contents.path),
        "kind": contents.kind.value,
        "bytes": contents.size,
        **described,
        "other": {brief(name, 200): _plain(value) for name, value in rest[:_MOST_ROWS]},
        "states": {brief(name, 200): _state_entries(state) for name, state in contents.states.items()},
        "total": _totals(contents.whole),
    }


def _totals(state: State) -> dict[str, int]:
    return {"tensors": len(state.tensors), "elements": state.elements, "bytes": state.size}


def _state_entries(state: State) -> dict[str, Any]:
    items = [_item(name, value) for name, value in state.leaves[:_MOST_ITEMS]]
    return {**_totals(state), "items": items, "left_out": max(0, len(state.leaves) - _MOST_ITEMS)}


def _item(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, TensorFacts):
        return {"name": name, "value": _plain(value)}
    return {"name": name, "shape": value.shape, "dtype": value.dtype.removeprefix("torch."), "bytes": value.size}


def _plain(value: Any, levels: int = 2) -> Any:
    """Return what JSON can hold of a value, at most so much of it."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if value is None or (isinstance(value, int) and abs(value) < 1 << 256):
        return value
    if isinstance(value, str):
        return value[: 1 << 20] if levels else value[:1000]
    if isinstance(value, Mapping) and levels:
        first = zip(value, range(1000), strict=False)
        return {brief(key, 200): _plain(value[key], levels - 1) for key, _ in first}
    if isinstance(value, (list, tuple)) and levels:
        return [_plain(item, levels - 1) for item in value[:1000]]
    return brief(value)
