"""The checkpoints of one run: written in the one safe order, listed from the directory, pruned by policy."""

import logging
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import chain, count
from pathlib import Path
from typing import Any

from runner.checkpoint.header import read_header
from runner.checkpoint.image import Image
from runner.checkpoint.integrity import verify
from runner.checkpoint.listing import BEST, FOLDER, LAST, SUPERSEDED, checkpoint_path, steps
from runner.checkpoint.policies import KeepBest, KeepLast, Mode, Retention, Saved, ranked
from runner.errors import CheckpointError, SaveFailed
from runner.files import Disk, make_directory, remove_stale_temporaries, temporary_beside, write_durably

log = logging.getLogger("runner")


class CheckpointStore:
    """Saves under `checkpoints/`, points `last.tar` and `best.tar`, and prunes what no policy keeps."""

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
        self._metrics: dict[Path, float | None] = {}
        self._measured = False

    def prepare(self, step: int = 0) -> None:
        """Make the folder, clear what dead writers left, and set aside what is newer than `step`.

        A newer file is one that a resume has passed over; among the kept it would push out good ones.
        """
        folder = self._run_directory / FOLDER
        make_directory(folder, self._disk)
        remove_stale_temporaries(folder)
        remove_stale_temporaries(self._run_directory)
        if newer := [path for at, path in steps(self._run_directory).items() if at > step]:
            (folder / SUPERSEDED).mkdir(exist_ok=True)
            for path in newer:
                self._disk.replace(path, _free(folder / SUPERSEDED / path.name))
            for changed in (folder / SUPERSEDED, folder):  # or a power cut would bring the passed over ones back
                self._disk.sync_directory(changed)
        if (saved := self._listing()) and self._may_be_last(saved[-1].path):
            self._publish(saved)

    def save(self, entries: Mapping[str, Any], image: Image | None = None) -> Path:
        """Write `entries` as the checkpoint of their step; when this returns, it will not be lost.

        An image has taken them before, and what it took is what is written.

        Raises:
            SaveFailed: the file could not be written; all earlier files are as they were.
        """
        path = checkpoint_path(self._run_directory, entries["global_step"])
        taken = image or _taken(entries)
        self._metrics.pop(path, None)  # should only the last sync of the new file fail, its metric is read from it
        try:
            write_durably(path, lambda file: taken.write(file, self._disk), self._disk)
            self._metrics[path] = entries["metrics"].get(self._monitor)
            saved = self._listing()
            self._publish(saved)
        except OSError as error:
            raise self._failed(path, error) from error
        with suppress(OSError):  # what fails from here on costs space, never a run
            self._prune(saved)
            if not self._measured:
                self._measured = True
                self.check_space(path.stat().st_size)
        return path

    def check_space(self, size: int) -> None:
        """Warn if the disk has too little space for all that is to be kept, each file of `size` bytes."""
        kept = sum(policy.count for policy in self._keep if isinstance(policy, (KeepLast, KeepBest)))
        wanted = max(0, kept + 1 - len(steps(self._run_directory))) * size
        free = shutil.disk_usage(self._run_directory).free
        if wanted > free:
            log.warning(
                "%s is to hold checkpoints of another %d MiB, and the disk has %d MiB free; make space, or keep fewer "
                "with checkpoint.keep_last and checkpoint.keep_best",
                self._run_directory, wanted >> 20, free >> 20,
            )  # fmt: skip

    def _listing(self) -> list[Saved]:
        found = steps(self._run_directory)
        return [Saved(step, path, self._metric(path)) for step, path in sorted(found.items())]

    def _metric(self, path: Path) -> float | None:
        if path not in self._metrics:
            self._metrics[path] = _stored_metric(path, self._monitor)
        return self._metrics[path]

    def _publish(self, saved: Sequence[Saved]) -> None:
        self._point(LAST, saved[-1].path)
        if best := ranked(saved, self._mode):
            self._point(BEST, best[0].path)
        self._disk.sync_directory(self._run_directory)

    def _may_be_last(self, path: Path) -> bool:
        """Return whether a file is `last.tar` already, or whole: if not, that may be what a resume took."""
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
            return  # renaming one name of a file over another would do nothing and leave the first
        temporary = temporary_beside(pointer)
        try:
            self._disk.link(target, temporary)
        except OSError:  # a file system without hard links
            with open(target, "rb") as source:
                write_durably(pointer, lambda file: shutil.copyfileobj(source, file, 1 << 20), self._disk)
            return
        try:
            self._disk.replace(temporary, pointer)
        except BaseException:
            with suppress(OSError):
                self._disk.unlink(temporary)
            raise

    def _prune(self, saved: Sequence[Saved]) -> None:
        kept = {saved[-1].step}.union(*(policy.keep(saved) for policy in self._keep))
        for entry in saved:
            if entry.step not in kept:
                with suppress(OSError):  # one that stays is no reason to keep the others
                    self._disk.unlink(entry.path)

    def _failed(self, path: Path, error: OSError) -> SaveFailed:
        with suppress(OSError):
            free = shutil.disk_usage(self._run_directory).free
            return SaveFailed(
                f"{path} could not be written: {error.strerror or error}; {free / 2**20:.0f} MiB are free there, "
                "and every earlier checkpoint is untouched"
            )
        return SaveFailed(f"{path} could not be written: {error.strerror or error}")


def _free(path: Path) -> Path:
    """Return a name like this one that no file has: what an earlier rewinding set aside stays."""
    others = (path.with_name(f"{path.stem}.{number}{path.suffix}") for number in count(2))
    return next(name for name in chain([path], others) if not name.exists())


def _taken(entries: Mapping[str, Any]) -> Image:
    image = Image()
    image.take(entries)
    return image


def _stored_metric(path: Path, monitor: str) -> float | None:
    try:
        metrics = read_header(path).get("metrics")
    except CheckpointError:
        return None
    value = metrics.get(monitor) if isinstance(metrics, dict) else None
    return float(value) if isinstance(value, (int, float)) else None
