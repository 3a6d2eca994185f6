"""`metrics.csv`: one row a report, without gaps or doubles, whatever happened in between."""

import csv
import io
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from runner.files import replace_text

_FIRST = ("step", "epoch")
_LAST = "seconds"


class CsvTracker:
    """Writes `metrics.csv`; goes on after the rows up to `first_step` that an earlier attempt left."""

    def __init__(self, run_directory: Path, *, first_step: int) -> None:
        self._path = run_directory / "metrics.csv"
        self._rows = [row for row in _read(self._path) if int(row["step"]) <= first_step]
        self._columns = _columns(self._rows)
        if self._path.exists():
            replace_text(self._path, _text(self._columns, self._rows, header=True))

    def log(self, step: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Append a row; a disk that is full costs the row, not the run."""
        row = {
            "step": str(step),
            "epoch": str(epoch),
            **{name: repr(float(v)) for name, v in metrics.items()},
        }
        doubles = bool(self._rows) and int(self._rows[-1]["step"]) >= step
        self._rows = [*(r for r in self._rows if int(r["step"]) < step), row] if doubles else [*self._rows, row]
        columns = _columns([dict.fromkeys(self._columns, ""), row])
        try:
            if columns == self._columns and not doubles and self._path.exists():
                with open(self._path, "a", encoding="utf-8", newline="") as file:
                    file.write(_text(columns, [row], header=False))
            else:
                replace_text(self._path, _text(columns, self._rows, header=True))
        except OSError as error:
            logging.getLogger("runner").warning("%s could not be written: %s", self._path, error)
        self._columns = columns

    def flush(self) -> None:
        """Force the file to the disk."""
        if self._path.exists():
            with open(self._path, "rb") as file:
                os.fsync(file.fileno())

    def close(self) -> None:
        """Do nothing: the file is never left open."""


def _columns(rows: Sequence[Mapping[str, str]]) -> list[str]:
    names = dict.fromkeys(name for row in rows for name in row)
    middle = [name for name in names if name not in (*_FIRST, _LAST)]
    return [*_FIRST, *middle, *([_LAST] if _LAST in names else [])]


def _text(columns: Sequence[str], rows: Sequence[Mapping[str, str]], *, header: bool) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _read(path: Path) -> list[dict[str, str]]:
    """Return the complete rows; a torn last line is none."""
    if not path.exists():
        return []
    text = path.read_bytes().decode("utf-8", errors="replace")
    lines = list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1])))
    if not lines or lines[0][:2] != list(_FIRST):
        return []
    complete = [line for line in lines[1:] if len(line) == len(lines[0]) and line[0].isdigit()]
    return [dict(zip(lines[0], line, strict=True)) for line in complete]
