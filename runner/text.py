"""Text out of files, as it may reach a terminal or a cell of a table: never as a command."""

import re

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_COMMANDS = ("=", "+", "-", "@", "\t", "\r")


def printable(value: object) -> str:
    """Return one line whose control characters cannot reach the terminal."""
    text = str(value)
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def printable_lines(value: object) -> str:
    """Return lines of which each is `printable`; a tab stays what it is."""
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in str(value).split("\n"))


def cell(value: object) -> str:
    """Return what stands in a cell of a CSV file, `printable`, and no formula for the program that opens it.

    https://owasp.org/www-community/attacks/CSV_Injection
    """
    text = printable(value)
    return f"'{text}" if text.startswith(_COMMANDS) and not _NUMBER.fullmatch(text) else text
