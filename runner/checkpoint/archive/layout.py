"""The layout of a zip archive for `torch.load`, computed from the names and sizes of its members.

Members are stored one after the other, uncompressed; the bytes of each start at a multiple of 64, padded as torch does.
https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple

LOCAL = struct.Struct("<4s5H3L2H")
CENTRAL = struct.Struct("<4s6H3L5H2L")
LONG_END = struct.Struct("<4sQ2H2L4Q")
LOCATOR = struct.Struct("<4sLQL")
END = struct.Struct("<4s4H2LH")
PADDING = b"FB"  # torch aligns tensors by an extra field of this name, filled with "Z"

ROOT = "archive/"
CRC_IN_LOCAL = 14  # bytes from the start of a local header
_ALIGNMENT = 64
_LIMIT, _MANY = 0xFFFFFFFF, 0xFFFF  # these values of a field refer to one of 8 bytes
_FIRST_OF_1980 = (0, 33)  # time, date: equal contents give equal bytes
_VERSION, _LONG_VERSION = 20, 45


class Member(NamedTuple):
    """The place of a member in the file, and its CRC."""

    name: str
    size: int
    header: int
    """Position of its local header."""
    start: int
    """Position of its first byte."""
    crc: int = 0

    @property
    def end(self) -> int:
        """The position after its last byte."""
        return self.start + self.size

    @property
    def is_long(self) -> bool:
        """Whether its size or its place needs more than 4 bytes."""
        return self.size >= _LIMIT or self.header >= _LIMIT


def place(name: str, size: int, position: int, crc: int = 0) -> Member:
    """Return the member whose local header begins at `position`."""
    full = f"{ROOT}{name}"
    least = position + LOCAL.size + len(full) + (20 if size >= _LIMIT else 0) + 4
    return Member(full, size, position, -(-least // _ALIGNMENT) * _ALIGNMENT, crc)


def local_header(member: Member) -> bytes:
    """Return the member's local header, padded up to its first byte."""
    long = struct.pack("<2H2Q", 1, 16, member.size, member.size) if member.size >= _LIMIT else b""
    extra = member.start - member.header - LOCAL.size - len(member.name)
    pad = extra - len(long) - 4
    size = min(member.size, _LIMIT)
    fixed = (b"PK\x03\x04", _version(member), 0, 0, *_FIRST_OF_1980, member.crc, size, size, len(member.name), extra)
    return LOCAL.pack(*fixed) + member.name.encode() + long + PADDING + pad.to_bytes(2, "little") + b"Z" * pad


def directory(members: Sequence[Member], position: int) -> bytes:
    """Return the archive's directory and end records, which start at `position`."""
    entries = b"".join(map(_entry, members))
    count, end = len(members), position + len(entries)
    facts = (min(count, _MANY), min(count, _MANY), min(len(entries), _LIMIT), min(position, _LIMIT))
    short = END.pack(b"PK\x05\x06", 0, 0, *facts, 0)
    if count < _MANY and end < _LIMIT:
        return entries + short
    versions = (_LONG_VERSION, _LONG_VERSION)
    long = LONG_END.pack(b"PK\x06\x06", 44, *versions, 0, 0, count, count, len(entries), position)
    return entries + long + LOCATOR.pack(b"PK\x06\x07", 0, end, 1) + short


def _entry(member: Member) -> bytes:
    sizes = (member.size, member.size) if member.size >= _LIMIT else ()
    wide = (*sizes, member.header) if member.header >= _LIMIT else sizes
    extra = struct.pack(f"<2H{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
    size, header = min(member.size, _LIMIT), min(member.header, _LIMIT)
    version = _version(member)
    fixed = (b"PK\x01\x02", version, version, 0, 0, *_FIRST_OF_1980, member.crc, size, size)
    return CENTRAL.pack(*fixed, len(member.name), len(extra), 0, 0, 0, 0, header) + member.name.encode() + extra


def _version(member: Member) -> int:
    return _LONG_VERSION if member.is_long else _VERSION
