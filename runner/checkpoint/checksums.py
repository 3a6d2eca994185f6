"""Every byte of an archive's stored members, read once and held against its checksum, by two threads where it pays."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from zipfile import BadZipFile

from runner.checkpoint.framing import Extent

try:  # by the processor's own instructions, where there is a wheel
    from isal.isal_zlib import crc32 as crc32
except ImportError:
    from zlib import crc32 as crc32

_CHUNK = 1 << 20
_WORTH_THREADS = 32 << 20  # bytes; starting threads costs as much as checking a few MiB


def check_contents(descriptor: int, extents: Sequence[Extent]) -> None:
    """Return if each extent of an open file has the bytes of its checksum.

    Raises:
        BadZipFile: one has not.
    """
    if sum(extent.size for extent in extents) < _WORTH_THREADS:
        _check_each(descriptor, iter(extents))
        return
    queue = iter(sorted(extents, key=lambda extent: -extent.size))
    with ThreadPoolExecutor(2) as threads:  # zlib and the system let go of Python's lock
        for result in [threads.submit(_check_each, descriptor, queue) for _ in range(2)]:
            result.result()


def _check_each(descriptor: int, extents: Iterator[Extent]) -> None:
    buffer = memoryview(bytearray(_CHUNK))
    for extent in extents:
        if _checksum(descriptor, extent, buffer) != extent.crc:
            raise BadZipFile(f"Bad CRC-32 for file {extent.name!r:.100}")


def _checksum(descriptor: int, extent: Extent, buffer: memoryview) -> int:
    checksum, position = 0, extent.start
    while position < extent.end:
        wanted = buffer[: min(len(buffer), extent.end - position)]
        count = os.preadv(descriptor, [wanted], position)
        if count == 0:
            raise BadZipFile(f"{extent.name!r:.100} ends early")
        checksum = crc32(wanted[:count], checksum)
        position += count
    return checksum
