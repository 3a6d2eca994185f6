"""Locate the members of an archive such that Python's zip reader, torch's and this one agree.

Ignores what does not affect the content: padding, dates, attributes, records after a member.
https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
"""

import os
from collections.abc import Sequence
from zipfile import BadZipFile, ZipInfo

from runner.checkpoint.archive.layout import CENTRAL, END, LOCAL, LOCATOR, LONG_END, Member

_ENCRYPTED, _DEFERRED, _UTF_8 = 0x1 | 0x20 | 0x40, 0x8, 0x800


def find_members(descriptor: int, listed: Sequence[ZipInfo], directory: int, size: int) -> list[Member]:
    """Return the members in the file's order, if its headers and directory agree.

    `directory` is the position of the central directory, `size` the size of the file.

    Raises:
        BadZipFile: they disagree.
    """
    members = [_member(descriptor, one) for one in sorted(listed, key=lambda one: one.header_offset)]
    for member, end in zip(members, [*(following.header for following in members[1:]), directory], strict=True):
        if member.end > end:
            raise BadZipFile(f"Overlapped entries: {member.name!r:.100}")
    _check_end(os.pread(descriptor, size - directory, directory), len(members), directory)
    return members


def _member(descriptor: int, listed: ZipInfo) -> Member:
    header = os.pread(descriptor, LOCAL.size, listed.header_offset)
    if len(header) != LOCAL.size:
        raise BadZipFile("Truncated file header")
    signature, _, flags, compression, _, _, crc, packed, size, name_length, extra = LOCAL.unpack(header)
    if signature != b"PK\x03\x04":
        raise BadZipFile("Bad magic number for file header")
    if (flags | listed.flag_bits) & _ENCRYPTED:
        raise BadZipFile(f"{listed.filename!r:.100} is encrypted")
    known = (listed.CRC, *(size if size == 0xFFFFFFFF else listed.file_size for size in (packed, size)))
    deferred = flags & _DEFERRED and crc == 0 and {packed, size} <= {0, 0xFFFFFFFF}
    if compression != listed.compress_type or ((crc, packed, size) != known and not deferred):
        raise BadZipFile(f"directory and header of {listed.filename!r:.100} differ in size or checksum")
    name = os.pread(descriptor, name_length, listed.header_offset + LOCAL.size)
    if name.decode("utf-8" if flags & _UTF_8 else "cp437") != listed.orig_filename:
        raise BadZipFile(f"File name in directory {listed.orig_filename!r:.100} and header {name!r:.100} differ.")
    start = listed.header_offset + LOCAL.size + name_length + extra
    return Member(listed.filename, listed.file_size, listed.header_offset, start, listed.CRC)


def _check_end(text: bytes, count: int, directory: int) -> None:
    position = 0
    for _ in range(count):
        *_, name, extra, comment, _, _, _, _ = CENTRAL.unpack_from(text, position)
        position += CENTRAL.size + name + extra + comment
    long = text[position : position + 4] == b"PK\x06\x06"
    short_end = text[position + (LONG_END.size + LOCATOR.size if long else 0) :]
    facts = (count, count, position, directory)
    limits = (0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
    mark, disk, first, *stated, comment = END.unpack(short_end)
    if (mark, disk, first, comment) != (b"PK\x05\x06", 0, 0, 0):
        raise BadZipFile("its end is damaged")
    if any(s != f and not (long and s == limit) for s, f, limit in zip(stated, facts, limits, strict=True)):
        raise BadZipFile("its end does not agree with its directory")
    if long:
        _check_long_end(text[position:], facts, directory + position)


def _check_long_end(text: bytes, facts: tuple[int, ...], position: int) -> None:
    _, size, _, _, *stated = LONG_END.unpack_from(text)
    if (size, *stated) != (44, 0, 0, *facts):
        raise BadZipFile("the record at its end does not agree with its directory")
    if LOCATOR.unpack_from(text, LONG_END.size) != (b"PK\x06\x07", 0, position, 1):
        raise BadZipFile("the locator at its end is damaged")
