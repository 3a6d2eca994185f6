"""The files that somebody names as new data: files, and the files of folders."""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.errors import DataMissing
from runner.text import printable


@dataclass(frozen=True)
class Listing:
    """Files in the order of their names, and how many others their folders hold."""

    files: list[Path]
    others: list[Path]

    def notice(self) -> str | None:
        """Return a sentence about files that were left out, None without any."""
        if not self.others:
            return None
        what = "one other file" if len(self.others) == 1 else f"{len(self.others)} other files"
        return f"{what} left out, such as {printable(self.others[0])}"


def listed(sources: Sequence[Path], endings: Collection[str] | None = None) -> Listing:
    """Return the named files, and those below named folders, in any depth, that have one of the `endings`.

    Hidden files and folders are left out, and links to folders are not followed.

    Raises:
        DataMissing: one does not exist, is not such a file, or holds none.
    """
    files: list[Path] = []
    others: list[Path] = []
    for source in sources:
        if source.is_dir():
            below = _below(source)
            fitting = [file for file in below if _fits(file, endings)]
            if not fitting:
                raise DataMissing(f"source={source} holds no {_kind(endings)}; name a folder or a file that does")
            files += fitting
            others += [file for file in below if not _fits(file, endings)]
            continue
        _check_file(source, endings)
        files.append(source)
    return Listing(files, others)


def _check_file(file: Path, endings: Collection[str] | None) -> None:
    if not file.exists():
        raise DataMissing(f"source={file} does not exist; name a file or a folder")
    if not file.is_file():  # reading a pipe would block
        raise DataMissing(f"source={file} is neither a file nor a folder; name one")
    if not _fits(file, endings):
        raise DataMissing(f"source={file} is no {_kind(endings)}; name one, or a folder of them")


def _below(folder: Path) -> list[Path]:
    """Return the regular files below a folder, sorted by folders and names."""

    def refuse(error: OSError) -> None:
        raise DataMissing(f"{error.filename} cannot be listed ({error.strerror}); allow it, or name another") from error

    found = []
    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place, name) for name in names if not name.startswith(".")]
    return sorted(file for file in found if file.is_file())


def _fits(file: Path, endings: Collection[str] | None) -> bool:
    return endings is None or file.suffix.lower() in endings


def _kind(endings: Collection[str] | None) -> str:
    return "file" if endings is None else f"file with the ending {', '.join(endings)}"
