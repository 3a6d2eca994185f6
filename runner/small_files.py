"""Read the small files of a run directory within bounds, each value checked.

A directory may come from anywhere. So nothing here follows a link, waits for a pipe, reads a file of gigabytes, or
returns a number, a text or a depth that no run writes.
"""

import errno
import json
import math
import os
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from functools import cache
from pathlib import Path
from types import UnionType
from typing import IO, Any, TypeVar, get_args, get_origin, get_type_hints

_Record = TypeVar("_Record")
_LARGEST = 4 << 20  # bytes
_LONGEST_LINE = 1 << 16  # bytes
_LARGEST_NUMBER = 2**53
_DEEPEST = 32  # levels


class Malformed(ValueError):
    """A file that no run writes; the message says why, with "it" for the file."""


def open_regular(path: Path, flags: int = os.O_RDONLY) -> IO[bytes]:
    """Open a regular file that is not a link, to read or, with other flags, to write.

    Raises:
        OSError: it is missing, or access is denied.
        Malformed: it is a link, a folder, a pipe or a device.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Malformed("it is a link") from error
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Malformed("it is not a regular file")
        mode = {os.O_RDONLY: "rb", os.O_WRONLY: "wb", os.O_RDWR: "r+b"}[flags & os.O_ACCMODE]
        return open(descriptor, "ab" if flags & os.O_APPEND else mode)
    except BaseException:
        os.close(descriptor)
        raise


def read_text(path: Path, *, largest: int = _LARGEST) -> str:
    """Return the text of a small file; raises as `open_regular`, and Malformed if it is too large or not UTF-8."""
    with open_regular(path) as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise Malformed(f"it has more than {largest >> 20} MiB")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise Malformed("it is not UTF-8") from error


def read_lines(path: Path) -> Iterator[bytes]:
    """Yield the complete lines of a long file, up to the first that is longer than any run writes.

    Raises as `open_regular`, at the first line.
    """
    with open_regular(path) as file:
        while (line := file.readline(_LONGEST_LINE)).endswith(b"\n"):
            yield line


def read_entries(path: Path, *, largest: int = _LARGEST) -> dict[str, Any]:
    """Return the object in a JSON file; raises as `read_text`, and Malformed if it is not one that a run writes."""
    try:
        entries = json.loads(read_text(path, largest=largest))
    except Malformed:
        raise
    except RecursionError as error:
        raise Malformed("it is nested too deeply") from error
    except ValueError as error:
        raise Malformed(f"it is not JSON: {error}") from error
    if not isinstance(entries, dict):
        raise Malformed("it is not a JSON object")
    _check_plain(entries, _DEEPEST)
    return entries


def read_as(path: Path, kind: type[_Record], *, largest: int = _LARGEST) -> _Record:
    """Return a JSON file as this dataclass, whose annotations are the schema; unknown entries are ignored.

    Numbers are finite, counts are not negative, and a bool is not a number.

    Raises:
        OSError, Malformed: as `read_entries`; also where a value is missing or has another type.
    """
    entries, kinds = read_entries(path, largest=largest), _kinds(kind)  # type: ignore[arg-type]
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    for name, field in known.items():
        if name in entries:
            if not conforms(entries[name], kinds[name]):
                raise Malformed(f"its {name} is {str(entries[name])[:50]!r}")
        elif field.default is MISSING and field.default_factory is MISSING:
            raise Malformed(f"it has no {name}")
    return kind(**{name: entries[name] for name in known if name in entries})


@cache
def _kinds(record: type) -> Mapping[str, Any]:
    return get_type_hints(record)


def conforms(value: Any, kind: Any) -> bool:
    """Return whether a plain value has the annotated type; an int must not be negative."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return True
    if origin is UnionType:
        return any(conforms(value, one) for one in inner)
    if origin is Mapping:
        return isinstance(value, dict) and all(conforms(item, inner[1]) for item in value.values())
    if origin in (Sequence, Collection, list):
        if inner[0] is str:  # of long lists
            return isinstance(value, list) and {*map(type, value)} <= {str}
        return isinstance(value, list) and all(conforms(item, inner[0]) for item in value)
    if kind is float:
        return type(value) in (int, float)
    return type(value) is kind and (kind is not int or value >= 0)


def _check_plain(value: Any, levels: int) -> None:
    """Raise Malformed for what JSON allows but no run writes."""
    if not levels:
        raise Malformed("it is nested too deeply")
    if isinstance(value, dict):
        for key, item in value.items():
            _check_plain(key, levels)
            _check_plain(item, levels - 1)
    elif isinstance(value, list):
        for item in value:
            if type(item) is not str or not item.isascii():
                _check_plain(item, levels - 1)
    elif isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise Malformed("it holds a character that cannot be written") from error
    elif isinstance(value, float) and not math.isfinite(value):
        raise Malformed("it holds a number that is not finite")
    elif type(value) is int and abs(value) > _LARGEST_NUMBER:
        raise Malformed("it holds a number that is too large")
