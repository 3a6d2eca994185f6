"""Open a checkpoint once, whether a file or the directory of a sharded one."""

import hashlib
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from runner.checkpoint.archive.layout import Member
from runner.checkpoint.archive.verify import Archive, opened
from runner.checkpoint.inert import ITEM_BYTES
from runner.checkpoint.sharded.manifest import GENERAL, damaged, is_sharded, read_manifest
from runner.checkpoint.sharded.shards import Shards
from runner.checkpoint.sharded.table import PREFIX
from runner.errors import RunnerError

_DATA = f"data/{PREFIX}"


@dataclass(frozen=True)
class ShardedArchive(Archive):
    """The general file of a sharded checkpoint; the divided tensors are members, too, named `data/shard:<name>`."""

    shards: Shards

    def check(
        self, names: Iterator[str] | list[str] | None = None, kept: Mapping[str, memoryview] | None = None
    ) -> None:
        """Check every byte of the members, those of tensors in the shards by the digests of the shards."""
        chosen, kept = list(self.members if names is None else names), kept or {}
        own = [name for name in chosen if not name.startswith(_DATA)]
        super().check(own, {name: memory for name, memory in kept.items() if not name.startswith(_DATA)})
        divided = {name.removeprefix(_DATA) for name in chosen if name.startswith(_DATA)}
        whole = {name.removeprefix(_DATA): memory for name, memory in kept.items() if name.startswith(_DATA)}
        self.shards.check(divided, whole)


@contextmanager
def opened_checkpoint(path: Path) -> Iterator[Archive]:
    """Open a checkpoint once; errors in the block are reported as errors of the file or the directory.

    Raises:
        CheckpointMissing, CheckpointDamaged, CheckpointRefused: see `archive.verify.opened`.
    """
    if not is_sharded(path):
        with opened(path) as archive:
            yield archive
        return
    files = read_manifest(path)
    with opened(path / GENERAL) as archive:
        archive.file.seek(0)
        if hashlib.file_digest(archive.file, "sha256").hexdigest() != files[GENERAL].sha256:  # type: ignore[arg-type]
            raise damaged(path, f"the bytes of its {GENERAL} are not those that were written")
        shards = Shards(path, files)
        members = {f"{_DATA}{name}": Member(name, _bytes(kind), 0, 0) for name, kind in shards.kinds.items()}
        try:
            yield ShardedArchive(path, archive.file, {**archive.members, **members}, shards)
        except RunnerError:
            raise
        except ValueError as error:
            raise damaged(path, str(error)) from error


def _bytes(kind: tuple[str, tuple[int, ...]]) -> int:
    dtype, shape = kind
    return math.prod(shape) * ITEM_BYTES[dtype]


def verify(path: Path) -> None:
    """Check that a checkpoint is what was written, byte for byte, without reading its content.

    Raises:
        CheckpointMissing, CheckpointDamaged, CheckpointRefused: see `opened_checkpoint`.
    """
    with opened_checkpoint(path) as archive:
        archive.check()
