"""The metrics of a run as its `metrics.csv` has them, read from its end."""

import csv
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from runner.small_files import Malformed, open_regular
from runner.tracking.csv_file import columns_of, read_rows, rows_of_lines

_FIRST_PIECE = 1 << 16  # bytes from the end
_LARGEST_PIECE = 1 << 26
_LONGEST_HEADER = 1 << 16  # bytes


def last_values(path: Path) -> dict[str, float]:
    """Return the last value of every column that has one, in the order of the columns; none without the file.

    Usually the end of the file has them all; a value that is not in the last 64 MiB is not found.
    """
    with suppress(OSError, Malformed, ValueError, csv.Error), open_regular(path) as file:
        header = file.readline(_LONGEST_HEADER)
        names, size, piece = columns_of(header), os.fstat(file.fileno()).st_size, _FIRST_PIECE
        while True:
            begin = max(len(header), size - piece)
            file.seek(begin)
            lines = file.read(size - begin).split(b"\n")[1 if begin > len(header) else 0 : -1]
            found = _latest(rows_of_lines(names, lines))
            if begin == len(header) or len(found) == len(names) or piece >= _LARGEST_PIECE:
                return {name: found[name] for name in names if name in found}
            piece = min(8 * piece, _LARGEST_PIECE)
    return {}


def extremes(path: Path, name: str) -> tuple[float, float] | None:
    """Return the smallest and the largest finite value of a column; None if it has none."""
    values = [value for _, value in points(path, name)]
    return (min(values), max(values)) if values else None


def points(path: Path, name: str) -> list[tuple[int, float]]:
    """Return the steps and the finite values of a column."""
    pairs = ((int(row["step"]), float(row[name])) for row in read_rows(path) if name in row)
    return [(step, value) for step, value in pairs if math.isfinite(value)]


def _latest(rows: Iterator[Mapping[str, str]]) -> dict[str, float]:
    found: dict[str, str] = {}
    for row in rows:
        found |= row
    return {name: float(text) for name, text in found.items()}
