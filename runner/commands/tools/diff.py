"""`python -m runner diff`: which tensors and settings of two checkpoints differ, and by how much."""

from pathlib import Path
from typing import Any

from runner.checkpoint.difference import comparable, differences
from runner.checkpoint.format import read_entries
from runner.checkpoint.listing import LAST, checkpoint_in
from runner.checkpoint.reader.entries import states
from runner.checkpoint.reader.tree import leaves
from runner.text import printable
from runner.wiring.config.flat import flatten
from runner.wiring.overrides.arguments import OF_ONE_ATTEMPT
from runner.wiring.resume.stored_config import read_config

_MOST_ROWS = 2000


def diff_command(one: str, other: str) -> int:
    """Print each tensor and setting that differs, bit for bit; return 0 if none does, else 1.

    Times, the environment and the command line of a file are not compared.
    """
    first, second = (_compared(checkpoint_in(Path(path), LAST)) for path in (one, other))
    found = list(differences(first, second))
    for difference in found[:_MOST_ROWS]:
        print(printable(f"{difference.place}: {difference.how}"))
    if len(found) > _MOST_ROWS:
        print(f"... and {len(found) - _MOST_ROWS} more")
    if not found:
        print(f"equal: {len(list(leaves(first)))} tensors and values")
    return 1 if found else 0


def _compared(path: Path) -> dict[str, Any]:
    """Return everything to compare in a file by its place, such as `model.0.weight` or `config.seed`."""
    entries = read_entries(path)
    settings = flatten(read_config(entries["config"], path)) if entries["config"] else {}  # of a loop of its own
    return {
        **{name: entries[name] for name in ("epoch", "global_step", "loss", "metrics")},
        **{f"config.{key}": value for key, value in settings.items() if key not in OF_ONE_ATTEMPT},
        **states(comparable(entries)),
    }
