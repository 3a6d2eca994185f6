"""Every byte of an archive's stored members, read once and held against its checksum, by two threads where it pays."""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from zipfile import BadZipFile

from runner.checkpoint.archive.framing import Extent

try:  # by the processor's own instructions, where there is a wheel
    from isal.isal_zlib import crc32 as crc32
except ImportError:
    from zlib import crc32 as crc32

_CHUNK = 1 << 20
_WORTH_THREADS = 32 << 20  # bytes; starting threads costs as much as checking a few MiB


def check_contents(descriptor: int, extents: Sequence[Extent], kept: Mapping[str, memoryview] | None = None) -> None:
    """Return if each extent of an open file has the bytes of its checksum.

    The bytes of those that are `kept` are read into the memory given for their names, and it is there that
    they are checked: what becomes of the file afterwards does not matter.

    Raises:
        BadZipFile: one has not.
    """
    queue = iter(sorted(extents, key=lambda extent: -extent.size))
    if sum(extent.size for extent in extents) < _WORTH_THREADS:
        _check_each(descriptor, queue, kept or {})
        return
    with ThreadPoolExecutor(2) as threads:  # zlib and the system let go of Python's lock
        for result in [threads.submit(_check_each, descriptor, queue, kept or {}) for _ in range(2)]:
            result.result()


def _check_each(descriptor: int, extents: Iterator[Extent], kept: Mapping[str, memoryview]) -> None:
    buffer = memoryview(bytearray(_CHUNK))
    for extent in extents:
        if _checksum(descriptor, extent, kept.get(extent.name), buffer) != extent.crc:
            raise BadZipFile(f"Bad CRC-32 for file {extent.name!r:.100}")


def _checksum(descriptor: int, extent: Extent, memory: memoryview | None, buffer: memoryview) -> int:
    checksum, done = 0, 0
    while done < extent.size:
        room = buffer if memory is None else memory[done : done + _CHUNK]
        wanted = room[: min(len(room), extent.size - done)]
        count = os.preadv(descriptor, [wanted], extent.start + done)
        if count == 0:
            raise BadZipFile(f"{extent.name!r:.100} ends early")
        checksum = crc32(wanted[:count], checksum)
        done += count
    return checksum
