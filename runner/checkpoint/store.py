"""The checkpoints of one run: written durably, listed from the directory, pruned by policy."""

import errno
import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain, count
from pathlib import Path
from typing import Any

from runner.checkpoint.best import Standing, metric_of
from runner.checkpoint.listing import (
    BEST,
    FOLDER,
    LAST,
    SUPERSEDED,
    StepFile,
    by_name,
    checkpoint_path,
    located,
    run_directory_of,
    step_files,
)
from runner.checkpoint.policies import KeepBest, KeepLast, Mode, Retention, Saved, ranked
from runner.checkpoint.sharded.folder import Digests, link_folder, remove_checkpoint, write_folder
from runner.checkpoint.sharded.manifest import bytes_of, is_sharded
from runner.checkpoint.sharded.opening import verify
from runner.checkpoint.writer.image import Image
from runner.errors import CheckpointError, SaveFailed
from runner.files import Disk, make_directory, remove, remove_stale_temporaries, temporary_beside, write_durably

log = logging.getLogger("runner")


class CheckpointStore:
    """Saves under `checkpoints/`, updates `last.tar` and `best.tar`, and prunes what no policy keeps."""

    def __init__(
        self,
        run_directory: Path,
        *,
        keep: Sequence[Retention],
        monitor: str,
        mode: Mode,
        disk: Disk | None = None,
    ) -> None:
        self._run_directory = run_directory
        self._keep = tuple(keep)
        self._monitor = monitor
        self._mode = mode
        self._disk = disk or Disk()
        self.best: Saved | None = None
        """The checkpoint that `best.tar` is."""
        self._metrics: dict[Path, float | None] = {}
        self._measured = False

    def prepare(self, standing: Standing | None = None) -> None:
        """Create the folder, delete what dead writers left, and match it to the restored state's `standing`.

        Newer files, which the resume did not take, are set aside: they would displace good ones in retention.
        A best checkpoint that exists only in the parent or as `best.tar` is linked into the folder.
        """
        folder = self._run_directory / FOLDER
        make_directory(folder, self._disk)
        remove_stale_temporaries(folder)
        remove_stale_temporaries(self._run_directory)
        if standing is not None:
            self._set_aside(standing.at)
            self._metrics |= dict.fromkeys(standing.damaged)
            self._take_along(standing)
        if (saved := self._listing()) and self._may_be_last(saved[-1].path):
            self._publish(saved)

    def save(self, entries: Mapping[str, Any], image: Image | None = None) -> Path:
        """Write `entries` durably as a new checkpoint of their step.

        No earlier file changes, not even one of the same step. With an `image`, write the tensors that it has copied.

        Raises:
            SaveFailed: the file could not be written; all earlier files are unchanged.
        """
        taken = image or _taken(entries)
        write = partial(taken.write, disk=self._disk)
        return self._saved(entries, lambda path: write_durably(path, write, self._disk))

    def save_sharded(self, entries: Mapping[str, Any], image: Image, add: Callable[[Path], Digests]) -> Path:
        """Write a checkpoint as a directory: `image` as its general file, and the shards that `add` puts beside it.

        Like `save`; `add` returns the digests of the shards, which are on the disk then.
        """
        general = partial(image.write, disk=self._disk)
        return self._saved(entries, lambda path: write_folder(path, general, add, self._disk))

    def _saved(self, entries: Mapping[str, Any], write: Callable[[Path], None]) -> Path:
        step = entries["global_step"]
        path = checkpoint_path(self._run_directory, step)
        try:
            path = self._free(step)
            write(path)
            self._metrics[path] = entries["metrics"].get(self._monitor)
            saved = self._listing()
            if path not in {one.path for one in saved}:  # somebody deleted it, or its folder
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
            self._publish(saved)
        except OSError as error:
            raise self._failed(path, error) from error
        with suppress(OSError):  # a failure from here on costs only space
            self._prune(saved)
            if not self._measured:
                self._measured = True
                self.check_space(bytes_of(path))
        return path

    def _free(self, step: int) -> Path:
        """Return the path of the next file of a step."""
        names = (by_name(path) for path in (self._run_directory / FOLDER).iterdir())
        numbers = [file.number for file in names if file and file.step == step]
        return checkpoint_path(self._run_directory, step, max(numbers, default=0) + 1)

    def _set_aside(self, at: StepFile) -> None:
        folder, best = self._run_directory / FOLDER, self._located_best()
        newer = [file.path for file in reversed(step_files(self._run_directory)) if file > at]
        if best is not None and best > at:
            newer = newer if best.path in newer else [best.path, *newer]
        if newer:
            (folder / SUPERSEDED).mkdir(exist_ok=True)
            for path in newer:
                self._disk.replace(path, _unused(folder / SUPERSEDED / path.name))
            for changed in (folder / SUPERSEDED, folder, self._run_directory):  # or a power cut undoes the move
                self._disk.sync_directory(changed)
        if best is not None and best > at and (self._run_directory / BEST).exists():
            self._disk.unlink(self._run_directory / BEST)
            self._disk.sync_directory(self._run_directory)

    def _located_best(self) -> StepFile | None:
        best = self._run_directory / BEST
        with suppress(CheckpointError):
            return located(best, self._run_directory) if best.exists() else None
        return None

    def _take_along(self, standing: Standing) -> None:
        best = standing.best
        if best is None or best.path in {file.path for file in step_files(self._run_directory)}:
            return
        if run_directory_of(best.path).resolve() != self._run_directory.resolve() and best.step == standing.at.step:
            return  # a fork's own first checkpoint holds the same
        with suppress(FileNotFoundError):  # pruned by the parent run, which still trains
            self._link(best.path, self._free(best.step))
        self._disk.sync_directory(self._run_directory / FOLDER)

    def check_space(self, size: int) -> None:
        """Warn if the disk has too little space for the checkpoints to keep, each of `size` bytes."""
        kept = sum(policy.count for policy in self._keep if isinstance(policy, (KeepLast, KeepBest)))
        wanted = max(0, kept + 1 - len(step_files(self._run_directory))) * size
        free = shutil.disk_usage(self._run_directory).free
        if wanted > free:
            log.warning(
                "%s needs another %d MiB for checkpoints, but the disk has %d MiB free; make space, or keep fewer "
                "with checkpoint.keep_last and checkpoint.keep_best",
                self._run_directory, wanted >> 20, free >> 20,
            )  # fmt: skip

    def _listing(self) -> list[Saved]:
        files = step_files(self._run_directory)
        return [Saved(file.step, file.path, self._metric(file.path)) for file in files]

    def _metric(self, path: Path) -> float | None:
        if path not in self._metrics:
            self._metrics[path] = metric_of(path, self._monitor)
        return self._metrics[path]

    def _publish(self, saved: Sequence[Saved]) -> None:
        self._point(LAST, saved[-1].path)
        best = ranked(saved, self._mode)
        if best:
            self._point(BEST, best[0].path)
        self.best = best[0] if best else None
        self._disk.sync_directory(self._run_directory)

    def _may_be_last(self, path: Path) -> bool:
        """Return whether a file is `last.tar` already, or valid; if not, the resume may have used `last.tar` itself."""
        last = self._run_directory / LAST
        with suppress(OSError):
            if last.samefile(path):
                return True
        try:
            verify(path)
        except CheckpointError:
            return False
        return True

    def _point(self, name: str, target: Path) -> None:
        pointer = self._run_directory / name
        if not pointer.is_symlink() and pointer.exists() and pointer.samefile(target):
            return  # renaming one hard link over another does nothing
        self._link(target, pointer)

    def _link(self, target: Path, name: Path) -> None:
        """Make `name` another name of a checkpoint, atomically: a hard link, or a durable copy where there are none."""
        temporary = temporary_beside(name)
        try:
            if target.is_dir():
                _name_folder(target, temporary, name)
            else:
                self._disk.link(target, temporary)
        except OSError:  # no hard links, or another file system
            with open(target, "rb") as source:
                write_durably(name, lambda file: shutil.copyfileobj(source, file, 1 << 20), self._disk)
            return
        try:
            if not name.is_symlink() and is_sharded(name):  # of a run that was copied without its links
                remove_checkpoint(name, self._disk)
            self._disk.replace(temporary, name)
        except BaseException:
            with suppress(OSError):
                remove(temporary)
            raise

    def _prune(self, saved: Sequence[Saved]) -> None:
        kept = {saved[-1].path}.union(*(policy.keep(saved) for policy in self._keep))
        for entry in saved:
            if entry.path not in kept:
                with suppress(OSError):  # go on with the others
                    remove_checkpoint(entry.path, self._disk)

    def _failed(self, path: Path, error: OSError) -> SaveFailed:
        with suppress(OSError):
            free = shutil.disk_usage(self._run_directory).free
            return SaveFailed(
                f"{path} could not be written: {error.strerror or error}; {free / 2**20:.0f} MiB are free, "
                "and every earlier checkpoint is untouched"
            )
        return SaveFailed(f"{path} could not be written: {error.strerror or error}")


def _name_folder(target: Path, temporary: Path, name: Path) -> None:
    """Make `temporary`, which becomes `name`, another name of a folder: a pointer to it, or one with its files."""
    if name.name in (LAST, BEST):
        temporary.symlink_to(target.relative_to(name.parent))
    else:
        link_folder(target, temporary)


def _unused(path: Path) -> Path:
    """Return this path, or a numbered one if it exists: an earlier rewind may have set aside a file of this name."""
    others = (path.with_name(f"{path.stem}.{number}{path.suffix}") for number in count(2))
    return next(name for name in chain([path], others) if not name.exists())


def _taken(entries: Mapping[str, Any]) -> Image:
    image = Image()
    image.take(entries)
    return image
