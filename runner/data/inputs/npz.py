"""The arrays of a `.npz`, read without unpickling."""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy

from runner.errors import DataMissing
from runner.text import one_line

_UNREADABLE = (OSError, ValueError, TypeError, EOFError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error)


class Npz:
    """The names of a file's arrays, each read when asked for."""

    def __init__(self, path: Path, key: str) -> None:
        """List the names; messages name `key`, which was set to the path.

        Raises:
            DataMissing: the file is missing or damaged.
        """
        if not path.is_file():  # reading a pipe would block
            raise DataMissing(f"there is no file {path}; set {key} to a .npz or .pt")
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                self._members = {name.removesuffix(".npy"): name for name in archive.namelist()}
        except _UNREADABLE as error:
            raise self._unreadable(error) from error
        self.names = list(self._members)

    def __getitem__(self, name: str) -> Any:
        """Return an array in this machine's byte order; DataMissing if it is damaged, or no plain array."""
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(self._members[name]) as member:
                array = numpy.lib.format.read_array(member, allow_pickle=False)
            return array.astype(array.dtype.newbyteorder("="), copy=False)
        except _UNREADABLE as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> DataMissing:
        reason = one_line(error, 200)
        return DataMissing(f"{self.path} cannot be read as a .npz of plain arrays ({reason}); write it again")
