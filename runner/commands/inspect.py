"""`python -m runner inspect`: every state_dict of a checkpoint as a table, in the tutorial's order."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from runner.checkpoint.format import SUFFIX, read_entries
from runner.commands.text import safe

_MOST_ROWS = 2000


def inspect_command(path: str) -> int:
    """Print what a checkpoint holds; nothing in it is built, trusted or run."""
    entries = read_entries(Path(path))
    print(f"{safe(path)}: epoch {entries['epoch']}, step {entries['global_step']}, loss {entries['loss']:.6g}")
    print(f"created {safe(entries.get('created', 'unknown'))}  metrics {safe(entries['metrics'])}")
    for name, state in entries.items():
        if name.endswith(SUFFIX):
            _print_state(name, state)
    print("\nconfig:")
    print("\n".join(f"  {safe(line)}" for line in entries["config"].splitlines()[:_MOST_ROWS]))
    return 0


def _print_state(name: str, state: Any) -> None:
    rows = list(_rows(state, ""))
    tensors = [value for _, value in rows if isinstance(value, Tensor)]
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    print(f"\n{safe(name)}: {sum(t.numel() for t in tensors)} elements, {size / 2**20:.3f} MiB")
    for key, value in rows[:_MOST_ROWS]:
        shown = f"{tuple(value.shape)!s:<24} {value.dtype}" if isinstance(value, Tensor) else safe(value)[:100]
        print(f"  {safe(key):<40} {shown}")
    if len(rows) > _MOST_ROWS:
        print(f"  ... and {len(rows) - _MOST_ROWS} more")


def _rows(value: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _rows(item, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, (list, tuple)) and any(isinstance(item, (Mapping, Tensor)) for item in value):
        for index, item in enumerate(value):
            yield from _rows(item, f"{prefix}[{index}]")
    else:
        yield prefix, value
