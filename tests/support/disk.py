"""A disk that writes down what is asked of it and fails, or lets its process die, where a test says so."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from runner.files import Disk

Fault = Callable[[str, int], BaseException | None]
"""What happens in place of an operation, by its name and its number from 1 on; None for the operation itself."""


def system_error(number: int) -> OSError:
    """Return what the system raises under this number."""
    return OSError(number, os.strerror(number))


def at(place: int | str, error: BaseException | None = None) -> Fault:
    """Return the fault of the operation of this number, or of each one of this name; the disk is full by default."""
    return lambda *operation: (error or system_error(errno.ENOSPC)) if place in operation else None


class CountingDisk(Disk):
    """Writes down every operation with what it is about, before it is done or `fault` comes in its place."""

    def __init__(self, fault: Fault = lambda name, number: None) -> None:
        self.operations: list[tuple[str, Any]] = []
        self.fault = fault

    def _begin(self, name: str, subject: Any) -> None:
        self.operations.append((name, subject))
        if error := self.fault(name, len(self.operations)):
            raise error

    def create(self, path: Path) -> BinaryIO:
        """Open a new file, or fail."""
        self._begin("create", path)
        return super().create(path)

    def put(self, file: BinaryIO, memory: memoryview) -> None:
        """Write all of the memory, or half of it and fail."""
        try:
            self._begin("put", Path(file.name))
        except BaseException:
            super().put(file, memory[: len(memory) // 2])
            raise
        super().put(file, memory)

    def sync(self, file: BinaryIO) -> None:
        """Sync a file, or fail."""
        self._begin("sync", Path(file.name))
        super().sync(file)

    def replace(self, source: Path, target: Path) -> None:
        """Rename, or fail."""
        self._begin("replace", (source, target))
        super().replace(source, target)

    def link(self, source: Path, target: Path) -> None:
        """Link, or fail."""
        self._begin("link", (source, target))
        super().link(source, target)

    def unlink(self, path: Path) -> None:
        """Remove a name, or fail."""
        self._begin("unlink", path)
        super().unlink(path)

    def sync_directory(self, path: Path) -> None:
        """Sync a directory, or fail."""
        self._begin("sync_directory", path)
        super().sync_directory(path)
