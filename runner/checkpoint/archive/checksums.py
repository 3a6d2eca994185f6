"""Read the members of an archive once and check their CRCs, with two threads where it pays."""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from zipfile import BadZipFile

from runner.checkpoint.archive.layout import Member

try:  # faster, where the package is installed
    from isal.isal_zlib import crc32 as crc32
except ImportError:
    from zlib import crc32 as crc32

_CHUNK = 1 << 20
_WORTH_THREADS = 32 << 20  # bytes; starting threads costs as much as checking a few MiB


def check_contents(descriptor: int, members: Sequence[Member], kept: Mapping[str, memoryview] | None = None) -> None:
    """Check that each member of an open file matches its CRC.

    Members named in `kept` are read into the memory given there and checked there, so that later changes of the file
    do not matter.

    Raises:
        BadZipFile: one does not match.
    """
    queue = iter(sorted(members, key=lambda member: -member.size))
    if sum(member.size for member in members) < _WORTH_THREADS:
        _check_each(descriptor, queue, kept or {})
        return
    with ThreadPoolExecutor(2) as threads:  # crc32 and reads release the GIL
        for result in [threads.submit(_check_each, descriptor, queue, kept or {}) for _ in range(2)]:
            result.result()


def _check_each(descriptor: int, members: Iterator[Member], kept: Mapping[str, memoryview]) -> None:
    buffer = memoryview(bytearray(_CHUNK))
    for member in members:
        if _checksum(descriptor, member, kept.get(member.name), buffer) != member.crc:
            raise BadZipFile(f"Bad CRC-32 for file {member.name!r:.100}")


def _checksum(descriptor: int, member: Member, memory: memoryview | None, buffer: memoryview) -> int:
    checksum, done = 0, 0
    while done < member.size:
        room = buffer if memory is None else memory[done : done + _CHUNK]
        wanted = room[: min(len(room), member.size - done)]
        count = os.preadv(descriptor, [wanted], member.start + done)
        if count == 0:
            raise BadZipFile(f"{member.name!r:.100} ends early")
        checksum = crc32(wanted[:count], checksum)
        done += count
    return checksum
