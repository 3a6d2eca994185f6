"""Sharded checkpoints as folders on the disk: published by one rename, linked, removed."""

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from runner.checkpoint.sharded.manifest import GENERAL, Digest, digest, write_manifest
from runner.files import Disk, remove, temporary_beside, write_durably

Digests = Mapping[str, Digest]


def write_folder(path: Path, general: Callable[[BinaryIO], object], add: Callable[[Path], Digests], disk: Disk) -> None:
    """Create a sharded checkpoint, atomically and durably; on failure nothing stays.

    `general` writes the general file; `add` puts the shards into the folder, durably, and returns their digests.

    Raises:
        OSError: something could not be written, or a shard is not where this process looks.
    """
    folder = temporary_beside(path)
    try:
        folder.mkdir()
        write_durably(folder / GENERAL, general, disk)
        shards = add(folder)
        write_manifest(folder, {GENERAL: digest(folder / GENERAL), **shards}, disk)
        if missing := [name for name in shards if not (folder / name).is_file()]:
            raise OSError(f"{missing[0]} is not there; all hosts must share the file system of a sharded checkpoint")
        disk.replace(folder, path)
    except BaseException:
        with suppress(OSError):
            remove(folder)
        raise
    disk.sync_directory(path.parent)


def link_folder(target: Path, name: Path) -> None:
    """Create a folder with links to all files of another, or with copies where there are no hard links."""
    try:
        shutil.copytree(target, name, symlinks=True, copy_function=os.link)
    except (OSError, shutil.Error):
        remove(name)
        shutil.copytree(target, name, symlinks=True)


def remove_checkpoint(path: Path, disk: Disk) -> None:
    """Delete a checkpoint; a folder first loses its name, so that no half of it is ever listed."""
    if not path.is_dir():
        disk.unlink(path)
        return
    doomed = temporary_beside(path)
    disk.replace(path, doomed)
    shutil.rmtree(doomed)
