"""Read the shards of a sharded checkpoint: rows of tensors in `.safetensors` files, checked as they are read.

torch.distributed.checkpoint writes them (`HuggingFaceStorageWriter`): opening one runs nobody's code.
"""

import hashlib
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.checkpoint.archive.safetensors_header import opened_weights
from runner.checkpoint.archive.verify import open_regular
from runner.checkpoint.inert import ITEM_BYTES, TensorFacts
from runner.checkpoint.sharded.manifest import GENERAL, Digest, damaged
from runner.errors import CheckpointDamaged

INFO, OFFSETS = "DCP_SHARDING_INFO", "saved_offsets"  # torch.distributed.checkpoint's names
_CHUNK = 4 << 20  # bytes


@dataclass(frozen=True)
class _Rows:
    """Rows of a tensor: their place in a file, and in the whole tensor."""

    name: str
    start: int
    """Bytes of the file before them."""
    size: int
    """Bytes."""
    first: int
    """The index of the first row."""
    facts: TensorFacts


class Shards:
    """The divided tensors of a sharded checkpoint."""

    def __init__(self, directory: Path, files: Mapping[str, Digest]) -> None:
        """Read the headers of all shards.

        Raises:
            CheckpointMissing, CheckpointDamaged, CheckpointRefused: a file is missing, damaged, or another kind of
                file, or the tensors are not divided by rows.
        """
        self._directory, self._files = directory, files
        self._rows = {name: _rows(directory, name) for name in files if name != GENERAL}
        self.kinds: dict[str, tuple[str, tuple[int, ...]]] = {}
        """The dtype and the shape of each whole tensor, by name."""
        by_name: dict[str, list[_Rows]] = {}
        for one in (one for rows in self._rows.values() for one in rows):
            by_name.setdefault(one.name, []).append(one)
        for name, parts in by_name.items():
            self.kinds[name] = _whole(directory, sorted(parts, key=lambda one: (one.first, one.size)))

    def check(self, names: Collection[str], kept: Mapping[str, memoryview]) -> None:
        """Check every byte of the files that hold these tensors; read those in `kept` into that memory.

        Raises:
            ValueError: a file is not what its digest says.
        """
        for file, rows in self._rows.items():
            if any(one.name in names for one in rows) or not rows:
                self._check(file, [(one, kept[one.name]) for one in rows if one.name in kept])

    def _check(self, name: str, wanted: list[tuple[_Rows, memoryview]]) -> None:
        hashed, position = hashlib.sha256(), 0
        with open_regular(self._directory / name) as file:
            for rows, whole in wanted:
                begin = rows.first * _row_bytes(rows.facts)
                position = _skip(file, rows.start - position, hashed) + position
                target = whole[begin : begin + rows.size]
                if file.readinto(target) != rows.size:  # type: ignore[attr-defined]
                    raise ValueError(f"its {name} ends early")
                hashed.update(target)
                position += rows.size
            _skip(file, os.fstat(file.fileno()).st_size - position, hashed)
        if hashed.hexdigest() != self._files[name].sha256:
            raise ValueError(f"the bytes of its {name} are not those that were written")


def _skip(file: Any, count: int, hashed: Any) -> int:
    """Hash the next `count` bytes of a file, and return how many those were."""
    left = count
    while left > 0:
        if not (piece := file.read(min(left, _CHUNK))):
            raise ValueError("a shard ends early")
        hashed.update(piece)
        left -= len(piece)
    return count


def _row_bytes(facts: TensorFacts) -> int:
    return facts.stride[0] * ITEM_BYTES[facts.dtype]


def _rows(directory: Path, file: str) -> list[_Rows]:
    """Return the rows in a file, in the order of their bytes."""
    try:
        with opened_weights(directory / file) as weights:
            starts = _starts(weights.metadata.get(INFO, "{}"))
            return [
                _Rows(name, start, facts.size, _first(starts.get(name), facts), facts)
                for name, (start, facts) in weights.tensors.items()
            ]
    except CheckpointDamaged as error:
        if not isinstance(error.__cause__, ValueError):  # it could not be read
            raise
        raise damaged(directory, f"its {file}: {error.__cause__}") from error


def _starts(text: str) -> Mapping[str, Any]:
    """Return what torch.distributed.checkpoint says of each tensor in a file."""
    try:
        said = json.loads(text)
    except RecursionError as error:
        raise ValueError(f"its {INFO} is nested too deeply") from error
    if not isinstance(said, dict):
        raise ValueError(f"its {INFO} is not a JSON object")
    return said


def _first(said: Any, facts: TensorFacts) -> int:
    """Return the index of the first row, in the whole tensor."""
    offsets = said.get(OFFSETS) if isinstance(said, dict) else None
    if not isinstance(offsets, list) or len(offsets) != len(facts.shape) or not offsets or any(offsets[1:]):
        raise ValueError("its tensors are divided in another way than by rows")
    first = offsets[0]
    if type(first) is not int or not 0 <= first < 2**63:
        raise ValueError("a tensor begins at an invalid row")
    return first


def _whole(directory: Path, parts: list[_Rows]) -> tuple[str, tuple[int, ...]]:
    """Return the dtype and the shape of a tensor, whose parts come in the order of their rows."""
    rows, dtype, row = 0, parts[0].facts.dtype, parts[0].facts.shape[1:]
    for part in parts:
        if (part.facts.dtype, part.facts.shape[1:]) != (dtype, row) or part.first != rows:
            raise damaged(directory, f"the shards of {part.name[:100]!r} do not fit together")
        rows += part.facts.shape[0]
    return dtype, (rows, *row)
