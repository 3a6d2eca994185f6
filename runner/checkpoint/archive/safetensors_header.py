"""The header of a `.safetensors` file, read without its package and without its tensors.

https://github.com/huggingface/safetensors#format
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from runner.checkpoint.archive.foreign import check_known
from runner.checkpoint.archive.verify import open_regular
from runner.checkpoint.inert import ITEM_BYTES, Storage, TensorFacts
from runner.errors import CheckpointDamaged, CheckpointRefused

ENDING = ".safetensors"
_LARGEST = 24 << 20  # bytes of JSON
DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu", "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz", "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip


@dataclass(frozen=True)
class WeightFile:
    """An open `.safetensors` file: its metadata, and where its tensors begin."""

    file: BinaryIO
    tensors: Mapping[str, tuple[int, TensorFacts]]
    """Position and facts by name, in the file's order."""
    metadata: Mapping[str, Any]


@contextmanager
def opened_weights(path: Path) -> Iterator[WeightFile]:
    """Open a file once and read its header; errors in the block are reported as errors of the file.

    The format has no checksums, so flipped bits in a tensor are not found.

    Raises:
        CheckpointMissing, CheckpointDamaged, CheckpointRefused: missing, truncated, or another kind of file.
    """
    with open_regular(path) as file:
        try:
            yield _weight_file(path, file)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            if isinstance(error, (CheckpointDamaged, CheckpointRefused)):
                raise
            raise CheckpointDamaged(f"{path} is damaged, or not a safetensors file ({str(error)[:200]})") from error


def _weight_file(path: Path, file: BinaryIO) -> WeightFile:
    head, size = file.read(512), os.fstat(file.fileno()).st_size
    check_known(path, head if head[8:9] != b"{" else b"")
    length = int.from_bytes(head[:8], "little")
    if length > _LARGEST:
        raise CheckpointRefused(f"{path} is refused: its header claims {length} bytes, which is too many")
    file.seek(8)
    header = json.loads(file.read(length), object_pairs_hook=_unique, parse_constant=_no_number)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(type(text) is str for text in metadata.values()):
        raise ValueError("its metadata are not strings")
    tensors = sorted((_facts(name, entry) for name, entry in header.items()), key=lambda found: found[1])
    _check_places([place for _, place, _ in tensors], size - 8 - length)
    return WeightFile(file, {name: (8 + length + begin, facts) for name, (begin, _), facts in tensors}, metadata)


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is not a length")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise ValueError("it has a name twice")
    return entries


def _facts(name: str, entry: Mapping[str, Any]) -> tuple[str, tuple[int, int], TensorFacts]:
    dtype, shape, (begin, end) = f"torch.{DTYPES[entry['dtype']]}", tuple(entry["shape"]), entry["data_offsets"]
    if not all(type(length) is int and 0 <= length < 2**63 for length in (*shape, begin, end)) or len(shape) > 64:
        raise ValueError("a tensor has an invalid shape")
    if math.prod(shape) * ITEM_BYTES[dtype] != end - begin:
        raise ValueError("a tensor's size does not match its shape")
    storage = Storage("storage", name, dtype, end - begin)
    strides = tuple(math.prod(shape[index + 1 :]) for index in range(len(shape)))
    return name, (begin, end), TensorFacts("tensor", dtype, shape, (storage,), 0, strides)


def _check_places(places: list[tuple[int, int]], size: int) -> None:
    position = 0
    for begin, end in places:
        if begin != position:
            raise ValueError("its tensors overlap or leave gaps")
        position = end
    if position != size:
        raise ValueError(f"its tensors take {position} bytes, but it has {size}")
