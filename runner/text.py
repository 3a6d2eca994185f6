"""Text made safe for where it goes: a terminal, a table's cell, an override."""

import re
from collections.abc import Collection, Iterator, Sequence

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_PLAIN = re.compile(r"[\w./-]+", re.ASCII)
_COMMANDS = ("=", "+", "-", "@", "\t", "\r")


def printable(value: object) -> str:
    """Return one line with its control characters escaped."""
    text = str(value)
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def printable_lines(value: object) -> str:
    """Return lines that are each `printable`; tabs stay."""
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in str(value).split("\n"))


def one_line(said: object, longest: int | None = None) -> str:
    """Return the text of an error or a value in one line, cut to `longest` characters."""
    return " ".join(str(said).split())[:longest]


def first_line(said: object) -> str:
    """Return the first line of an error's text, empty if it has none."""
    return one_line(str(said).strip().partition("\n")[0])


def error_line(error: BaseException, longest: int = 300) -> str:
    """Return an error in one line: its type and its message, cut to `longest` characters.

    Of an error that a data worker sends as the text of a traceback, the last line says both.
    """
    said = str(error).strip()
    if said.startswith("Caught ") and "Original Traceback" in said:
        return one_line(said.rpartition("\n")[2], longest)
    return f"{type(error).__name__}: {one_line(error, longest)}".removesuffix(": ")


def aligned(rows: Sequence[Sequence[str]], *, right: Collection[int] = (), between: str = "  ") -> str:
    """Return rows of cells, each made `printable`, as columns; the columns in `right` are right-aligned."""
    rows = [[printable(text) for text in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def placed(row: Sequence[str]) -> Iterator[str]:
        for number, (text, width) in enumerate(zip(row, widths, strict=True)):
            yield text.rjust(width) if number in right else text.ljust(width)

    return "\n".join(between.join(placed(row)).rstrip() for row in rows)


def cell(value: object) -> str:
    """Return the text of a CSV cell: `printable`, and not a formula for the program that opens it.

    https://owasp.org/www-community/attacks/CSV_Injection
    """
    text = printable(value)
    return f"'{text}" if text.startswith(_COMMANDS) and not _NUMBER.fullmatch(text) else text


def in_override(text: str) -> str:
    """Return a path for an override, quoted if Hydra's grammar needs it."""
    if _PLAIN.fullmatch(text):
        return text
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
