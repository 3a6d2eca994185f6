"""A few plain values of a checkpoint, cached until the file changes."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from runner.checkpoint.archive.verify import check_regular
from runner.checkpoint.reader.header import read_header
from runner.checkpoint.sharded.manifest import GENERAL, is_sharded

_FACTS = ("global_step", "epoch", "metrics", "loss", "created", "environment")


def facts(path: Path) -> Mapping[str, Any]:
    """Return the entries of a checkpoint that are neither states nor config; raises as `read_header`."""
    status = check_regular(path / GENERAL if is_sharded(path) else path)
    return _read(path, (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))


@lru_cache(maxsize=256)
def _read(path: Path, identity: tuple[int, ...]) -> Mapping[str, Any]:
    header = read_header(path)
    return MappingProxyType({key: header[key] for key in _FACTS if key in header})
