"""What an archive says around its members, every byte of which has to agree with the rest.

Python's zip reader passes over most of it. What writers are free to choose is held against what the
same file says elsewhere, so that a single flipped bit shows wherever it is.
https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
"""

import os
import struct
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from zipfile import BadZipFile, ZipInfo

from runner.checkpoint.archive import CENTRAL, END, LOCAL, LOCATOR, LONG_END, PADDING

_ENCRYPTED, _DEFERRED, _UTF_8 = 0x1 | 0x20 | 0x40, 0x8, 0x800
_LONG_VERSIONS = {(0x031E, 45), (0x032D, 45), (45, 45)}  # miniz, which torch has; Info-ZIP; Python


@dataclass(frozen=True)
class Extent:
    """Where a member's bytes are, and their checksum."""

    name: str
    start: int
    size: int
    crc: int

    @property
    def end(self) -> int:
        """The position after the last byte."""
        return self.start + self.size


def extents(descriptor: int, members: Sequence[ZipInfo], directory: int, size: int) -> list[Extent]:
    """Return where the members are, in the file's order, if the frame of the archive is whole.

    `directory` is the position of the central directory, `size` that of the end of the file.

    Raises:
        BadZipFile: something disagrees.
    """
    ordered = sorted(members, key=lambda member: member.header_offset)
    _check_uniform(ordered)
    placed = [_extent(descriptor, member) for member in ordered]
    for member, extent, end in zip(ordered, placed, [*(m.header_offset for m in ordered[1:]), directory], strict=True):
        if extent.end > end:
            raise BadZipFile(f"Overlapped entries: {extent.name!r:.100}")
        _check_descriptor(member, os.pread(descriptor, min(end - extent.end, 25), extent.end))
    _check_padding(descriptor, ordered, placed)
    _check_end(os.pread(descriptor, size - directory, directory), members, directory)
    return placed


def _check_uniform(members: Sequence[ZipInfo]) -> None:
    kinds: defaultdict[int, set[tuple[int, ...]]] = defaultdict(set)
    for m in members:
        if m.comment or m.volume or m.reserved or m.compress_size != m.file_size:
            raise BadZipFile(f"{m.filename!r:.100} has a strange entry in the directory")
        kinds[m.extract_version].add((m.create_version, m.create_system, m.internal_attr, m.external_attr))
    if any(len(kind) > 1 for kind in kinds.values()):
        raise BadZipFile("its directory has entries of different kinds")


def _extent(descriptor: int, member: ZipInfo) -> Extent:
    header = os.pread(descriptor, LOCAL.size, member.header_offset)
    if len(header) != LOCAL.size:
        raise BadZipFile("Truncated file header")
    signature, version, flags, compression, time, date, crc, packed, size, name_length, extra = LOCAL.unpack(header)
    if signature != b"PK\x03\x04":
        raise BadZipFile("Bad magic number for file header")
    if flags & _ENCRYPTED:
        raise BadZipFile(f"{member.filename!r:.100} is encrypted")
    year, month, day, hour, minute, second = member.date_time
    stamp = (hour << 11 | minute << 5 | second >> 1, (year - 1980) << 9 | month << 5 | day)
    stated = (version, flags, compression, (time, date))
    if stated != (member.extract_version, member.flag_bits, member.compress_type, stamp):
        raise BadZipFile(f"directory and header of {member.filename!r:.100} differ")
    known = (member.CRC, *(size if size == 0xFFFFFFFF else member.file_size for size in (packed, size)))
    if (crc, packed, size) != known and not (flags & _DEFERRED and (crc, packed, size) == (0, 0, 0)):
        raise BadZipFile(f"directory and header of {member.filename!r:.100} differ in size or checksum")
    name = os.pread(descriptor, name_length, member.header_offset + LOCAL.size)
    if name.decode("utf-8" if flags & _UTF_8 else "cp437") != member.orig_filename:
        raise BadZipFile(f"File name in directory {member.orig_filename!r:.100} and header {name!r:.100} differ.")
    start = member.header_offset + LOCAL.size + name_length + extra
    return Extent(member.filename, start, member.file_size, member.CRC)


def _check_descriptor(member: ZipInfo, found: bytes) -> None:
    """After the bytes of a member comes its checksum again, if the local header has none, and else nothing."""
    facts = (b"PK\x07\x08", member.CRC, member.file_size, member.file_size)
    long = struct.pack("<4sL2Q", *facts)
    short = struct.pack("<4s3L", *facts) if member.file_size < 2**32 else long
    if found not in ((short, long) if member.flag_bits & _DEFERRED else (b"",)):
        raise BadZipFile(f"{member.filename!r:.100} is not followed by what belongs there")


def _check_padding(descriptor: int, members: Sequence[ZipInfo], placed: Sequence[Extent]) -> None:
    """Either every local header ends with torch's padding, or none does."""
    padded = 0
    for member, extent in zip(members, placed, strict=True):
        begin = member.header_offset + LOCAL.size + len(member.orig_filename.encode("utf-8"))
        extra = os.pread(descriptor, max(0, extent.start - begin), begin)
        before, mark, after = extra.rpartition(PADDING)
        if mark and after[2:].strip(b"Z"):
            raise BadZipFile(f"the padding of {member.filename!r:.100} is damaged")
        if mark and not member.extra and (before or int.from_bytes(after[:2], "little") != len(after) - 2):
            raise BadZipFile(f"the padding of {member.filename!r:.100} is damaged")
        padded += bool(mark)
    if padded not in (0, len(members)):
        raise BadZipFile("the padding of a member is damaged")


def _check_end(text: bytes, members: Sequence[ZipInfo], directory: int) -> None:
    position = 0
    for _ in members:
        *_, name, extra, comment, _, _, _, _ = CENTRAL.unpack_from(text, position)
        position += CENTRAL.size + name + extra + comment
    count, long = len(members), text[position : position + 4] == b"PK\x06\x06"
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
    _, size, made, needed, *stated = LONG_END.unpack_from(text)
    if (size, *stated) != (44, 0, 0, *facts) or (made, needed) not in _LONG_VERSIONS:
        raise BadZipFile("the record at its end does not agree with its directory")
    if LOCATOR.unpack_from(text, LONG_END.size) != (b"PK\x06\x07", 0, position, 1):
        raise BadZipFile("the locator at its end is damaged")
