"""`metrics.csv`: one row per report, without gaps or doubles across attempts."""

import csv
import io
import logging
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from runner.files import Disk, write_durably
from runner.small_files import Malformed, open_regular, read_lines
from runner.text import cell

_FIRST = ("step", "epoch")
_LAST = "seconds"
_COUNT = re.compile(r"[0-9]{1,18}")
_NUMBER = re.compile(r"-?([0-9]{1,400}(\.[0-9]{0,400})?(e[+-]?[0-9]{1,4})?|inf)|nan", re.IGNORECASE)


class CsvTracker:
    """Writes `metrics.csv`, one row per report.

    It continues after an earlier attempt's rows up to `first_step`; the first log, flush or close removes the others.
    """

    def __init__(self, directory: Path, *, first_step: int) -> None:
        self._path = directory / "metrics.csv"
        rows = {int(row["step"]): row for row in read_rows(self._path)}
        self._rows = {step: rows[step] for step in sorted(rows) if step <= first_step}
        self._columns = _columns(self._rows.values())
        self._behind = self._path.exists() and not self._is_whole()
        self._failing = False
        self._lock = threading.Lock()  # a checkpoint's writer flushes while training logs

    def log(self, step: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Append a row, or replace that of the same step; a full disk costs rows, not the run."""
        with self._lock:
            self._log(step, epoch, metrics)

    def _log(self, step: int, epoch: int, metrics: Mapping[str, float]) -> None:
        numbers = {cell(name): repr(float(value)) for name, value in metrics.items()}
        row = {"step": str(step), "epoch": str(epoch), **numbers}
        columns = _columns([dict.fromkeys(self._columns, ""), row])
        follows = step > next(reversed(self._rows), -1)
        appendable = follows and columns == self._columns and not self._behind and self._path.exists()
        self._columns = columns
        self._rows[step] = row
        if not follows:
            self._rows = dict(sorted(self._rows.items()))
        self._attempt((lambda: self._append(row)) if appendable else self._rewrite)

    def flush(self) -> None:
        """Force the file to the disk, with the rows that could not be written earlier."""
        with self._lock:
            if self._behind:
                self._attempt(self._rewrite)
            elif self._path.exists():
                self._attempt(self._sync)

    def close(self) -> None:
        """Write the rows that are not written yet; the file is never left open."""
        with self._lock:
            if self._behind:
                self._attempt(self._rewrite)

    def _attempt(self, write: Callable[[], None]) -> None:
        try:
            write()
        except (OSError, Malformed) as error:
            if not self._failing:
                logging.getLogger("runner").warning("%s could not be written: %s", self._path, error)
            self._behind = self._failing = True
        else:
            self._behind = self._failing = False

    def _append(self, row: Mapping[str, str]) -> None:
        with open_regular(self._path, os.O_WRONLY | os.O_APPEND) as file:
            file.write(_text(self._columns, [row]).encode())

    def _rewrite(self) -> None:
        write_durably(self._path, lambda file: file.write(self._whole()), Disk())

    def _is_whole(self) -> bool:
        """Return whether the file has exactly the rows."""
        whole = self._whole()
        with suppress(OSError, Malformed), open_regular(self._path) as file:
            return file.read(len(whole) + 1) == whole
        return False

    def _whole(self) -> bytes:
        header = dict(zip(self._columns, self._columns, strict=True))
        return _text(self._columns, [header, *self._rows.values()]).encode()

    def _sync(self) -> None:
        with open(self._path, "rb") as file:
            os.fsync(file.fileno())


def _columns(rows: Iterable[Mapping[str, str]]) -> list[str]:
    names = dict.fromkeys(name for row in rows for name in row)
    middle = [name for name in names if name not in (*_FIRST, _LAST)]
    return [*_FIRST, *middle, *([_LAST] if _LAST in names else [])]


def _text(columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> str:
    text = io.StringIO()
    csv.DictWriter(text, columns, restval="", lineterminator="\n").writerows(rows)
    return text.getvalue()


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the complete rows of a `metrics.csv`, without empty fields; none if there is no file.

    Each value is a number, `step` and `epoch` are counts.
    """
    with suppress(OSError, Malformed):
        return list(_rows(_fields(line) for line in read_lines(path)))
    return []


def columns_of(header: bytes) -> list[str]:
    """Return the columns that the first line of a `metrics.csv` names; none for a line that is no such header."""
    names = [cell(name) for name in _fields(header)]
    return names if names[:2] == list(_FIRST) else []


def rows_of_lines(header: Sequence[str], lines: Iterable[bytes]) -> Iterator[dict[str, str]]:
    """Yield what `read_rows` returns of these lines below a header."""
    return _below(header, map(_fields, lines))


def _rows(lines: Iterator[list[str]]) -> Iterator[dict[str, str]]:
    header = [cell(name) for name in next(lines, [])]
    return _below(header, lines) if header[:2] == list(_FIRST) else iter(())


def _below(header: Sequence[str], lines: Iterable[list[str]]) -> Iterator[dict[str, str]]:
    for line in lines:
        if len(line) == len(header) and all(map(_COUNT.fullmatch, line[:2])):
            pairs = zip(header, line, strict=True)
            yield {name: value for name, value in pairs if _NUMBER.fullmatch(value)}


def _fields(line: bytes) -> list[str]:
    try:
        return next(csv.reader([line.rstrip(b"\r\n").decode()]), [])
    except (UnicodeDecodeError, csv.Error):
        return []
