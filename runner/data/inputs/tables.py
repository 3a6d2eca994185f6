"""Numbers in a `.csv`, with or without a header."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from runner.errors import DataMissing
from runner.text import one_line

_TARGETS = ("target", "label")


@dataclass(frozen=True)
class Table:
    """Inputs (rows, columns) float64, and the cells of the column of targets (rows,); None without one."""

    path: Path
    inputs: Any
    targets: Sequence[str] | None = None

    @property
    def width(self) -> int:
        """The number of columns of inputs."""
        return int(self.inputs.shape[1])


def read_table(path: Path) -> Table:
    """Return a table; a column that its header calls `target` or `label` holds the targets.

    Raises:
        DataMissing: it is missing or no text, has rows of several lengths, or cells that are no numbers.
    """
    rows = list(_rows(path))
    header = _header(rows, path)
    if not rows:
        raise DataMissing(f"{path} has no rows of numbers; give one a sample")
    width = len(rows[0][1] if header is None else header)
    for line, cells in rows:
        if len(cells) != width:
            raise DataMissing(f"{path}, line {line}, has {len(cells)} cells, and the first {width}; give as many")
    named = [place for place, name in enumerate(header or ()) if name.strip().lower() in _TARGETS]
    if len(named) > 1:
        raise DataMissing(f"{path} has several columns called {' or '.join(_TARGETS)}; keep one")
    inputs = numpy.array([_numbers(path, line, cells, named) for line, cells in rows])
    targets = [cells[named[0]].strip() for _, cells in rows] if named else None
    return Table(path, inputs.reshape(len(rows), -1), targets)


def _header(rows: list[tuple[int, Sequence[str]]], path: Path) -> Sequence[str] | None:
    """Take the header from the rows and return it, None without one; DataMissing if the first row may be either."""
    if not rows or all(map(_is_number, rows[0][1])):
        return None
    if any(map(_is_number, rows[0][1])):
        raise DataMissing(
            f"{path}, line {rows[0][0]}, has numbers and {_odd(rows[0][1])!r}; begin with numbers alone, or with a "
            "header of names alone"
        )
    return rows.pop(0)[1]


def _odd(cells: Sequence[str]) -> str:
    return next(cell for cell in cells if not _is_number(cell))[:50]


def _rows(path: Path) -> Iterator[tuple[int, Sequence[str]]]:
    """Yield the cells of each line that is not blank, with its number."""
    if not path.is_file():  # reading a pipe would block
        raise DataMissing(f"there is no file {path}; set source to a .csv")
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            yield from ((reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataMissing(f"{path} cannot be read as a table ({one_line(error, 200)}); write it again") from error


def _is_number(cell: str) -> bool:
    with suppress(ValueError):
        float(cell)
        return True
    return False


def _numbers(path: Path, line: int, cells: Sequence[str], left_out: Sequence[int]) -> list[float]:
    wanted = [cell for place, cell in enumerate(cells) if place not in left_out]
    if not all(map(_is_number, wanted)):
        raise DataMissing(
            f"{path}, line {line}, has {_odd(wanted)!r}, which is no number; write numbers with a point, separated by "
            "commas"
        )
    return [float(cell) for cell in wanted]
