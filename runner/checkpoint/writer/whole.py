"""Write a whole checkpoint in either form, by one process."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from runner.checkpoint.reader.entries import SUFFIX
from runner.checkpoint.sharded.folder import Digests, write_folder
from runner.checkpoint.sharded.manifest import MOST_FILES, Digest, digest
from runner.checkpoint.sharded.shards import INFO, OFFSETS
from runner.checkpoint.sharded.table import ENTRY, outlined
from runner.checkpoint.weights.indexed import grouped
from runner.checkpoint.weights.safetensors import WRITABLE, safetensors_bytes
from runner.checkpoint.writer.image import Image
from runner.errors import ConfigError
from runner.files import Disk, write_durably


def write_general(path: Path, entries: Mapping[str, Any], disk: Disk) -> None:
    """Write the entries of a general checkpoint as one file, durably; an earlier file is replaced."""
    image = Image()
    image.take(entries)
    write_durably(path, lambda file: image.write(file, disk), disk)


def write_sharded(path: Path, entries: Mapping[str, Any], largest: int, disk: Disk) -> None:
    """Write the entries of a general checkpoint as a directory with shards of at most `largest` bytes, durably.

    Raises:
        ConfigError: there would be more shards than a reader takes.
    """
    named = {name: value for name, value in entries.items() if name.endswith(SUFFIX)}
    outline, table, tensors = outlined(named, {id(tensor) for tensor in _shardable(named)})
    groups = grouped(tensors, largest)
    if len(groups) >= MOST_FILES:
        raise ConfigError(f"{len(groups)} shards are too many; give a larger --shard-size, for fewer than {MOST_FILES}")
    image = Image()
    image.take({**entries, **outline, ENTRY: table})
    write_folder(path, lambda file: image.write(file, disk), lambda folder: _write_shards(folder, groups, disk), disk)


def _shardable(value: Any) -> list[Tensor]:
    """Return the tensors that can be in shards: they have rows, and a dtype that safetensors knows."""
    if isinstance(value, Mapping):
        return [tensor for key, item in value.items() if type(key) in (str, int) for tensor in _shardable(item)]
    if type(value) is list:
        return [tensor for item in value for tensor in _shardable(item)]
    fine = isinstance(value, Tensor) and value.layout is torch.strided and value.dim() > 0 and value.dtype in WRITABLE
    return [value] if fine else []


def _write_shards(folder: Path, groups: list[dict[str, Tensor]], disk: Disk) -> Digests:
    return dict(_written(folder, number, group, disk) for number, group in enumerate(groups, start=1))


def _written(folder: Path, number: int, group: dict[str, Tensor], disk: Disk) -> tuple[str, Digest]:
    """Write one shard, and return its name and digest."""
    path = folder / f"shard-{number:05d}-model-00001-of-00001.safetensors"  # as torch.distributed.checkpoint names
    offsets = {name: {OFFSETS: [0] * tensor.dim()} for name, tensor in group.items()}
    content = safetensors_bytes(group, path, {INFO: json.dumps(offsets), "DCP_VERSION": "1.0", "format": "pt"})
    write_durably(path, lambda file: file.write(content), disk)
    return path.name, digest(path)
