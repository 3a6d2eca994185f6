"""Print a listing as a table, JSON or CSV, or write it as a page."""

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.commands.tools.listing.columns import MISSING, USUAL, check_known, in_order, selected, value_of
from runner.commands.tools.listing.page import write_page
from runner.commands.tools.listing.run import Run, runs_below
from runner.text import aligned, cell, printable

_HEADS = {"continue": "continue with"}


@dataclass(frozen=True)
class Asked:
    """Which runs to list, in which order, with which columns."""

    directory: str
    sort: str = "run"
    where: Sequence[str] = ()
    columns: Sequence[str] = ()
    """Empty for the usual ones."""

    def runs(self) -> list[Run]:
        """Return the runs; raise ConfigError for a key that none of them has."""
        runs = runs_below(self.directory)
        check_known(runs, [*self.columns, self.sort.removeprefix("-")])
        return in_order(selected(runs, self.where), self.sort)


def list_command(asked: Asked) -> int:
    """Print the runs as a table."""
    columns, runs = asked.columns or USUAL, asked.runs()
    values = [[value_of(run, column) for column in columns] for run in runs]
    right = [place for place in range(len(columns)) if _is_numeric([row[place] for row in values])]
    cells = [[shown(column, value) for column, value in zip(columns, row, strict=True)] for row in values]
    print(aligned([[_HEADS.get(column, column) for column in columns], *cells], right=right))
    return 0


def list_json_command(asked: Asked) -> int:
    """Print the runs as a JSON list: of the usual facts and all metrics, or of exactly the asked columns."""
    listed = [
        {column: plain(value_of(run, column)) for column in asked.columns} if asked.columns else _finite(run.as_plain())
        for run in asked.runs()
    ]
    print(json.dumps(listed, indent=2))
    return 0


def list_csv_command(asked: Asked) -> int:
    """Print the runs as CSV: numbers in full, sizes in bytes, nothing for what is missing."""
    columns, text = asked.columns or USUAL, io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(cell, columns))
    for run in asked.runs():
        values = (plain(value_of(run, column)) for column in columns)
        writer.writerow("" if value is None else cell(value) for value in values)
    print(text.getvalue(), end="")
    return 0


def list_page_command(asked: Asked, target: str) -> int:
    """Write the runs as one self-contained page with a sortable table and curves.

    Raises:
        RunnerError: the file exists and is not such a page, or cannot be written.
    """
    columns, runs = asked.columns or USUAL, asked.runs()
    rows = [[(plain(value := value_of(run, column)), shown(column, value)) for column in columns] for run in runs]
    curves = write_page(Path(target), [_HEADS.get(column, column) for column in columns], rows, runs)
    print(printable(f"{target}: {len(runs)} runs, with the curves of {curves}"))
    return 0


def plain(value: Any) -> Any:
    """Return a value for JSON: None for what is missing, text for what JSON cannot hold."""
    if value is MISSING or value is None:
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, (bool, int, float, str)) else str(value)


def shown(column: str, value: Any) -> str:
    """Return a value for a cell of a table."""
    if value is MISSING or value is None:
        return "" if column == "continue" else "-"
    if column == "size":
        return f"{value / 2**20:.1f} MiB"
    if isinstance(value, float):
        return f"{value:.3g}" if column == "lr" else f"{value:.6g}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_numeric(values: Sequence[Any]) -> bool:
    known = [value for value in values if value is not MISSING and value is not None]
    return bool(known) and all(isinstance(value, (int, float)) for value in known)


def _finite(entries: dict[str, Any]) -> dict[str, Any]:
    metrics = {name: plain(value) for name, value in entries["metrics"].items()}
    return {**{name: plain(value) for name, value in entries.items()}, "metrics": metrics}
