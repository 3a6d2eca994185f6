"""The header of a `.safetensors` file, read without its package and without its tensors.

https://github.com/huggingface/safetensors#format
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from runner.checkpoint.archive.foreign import check_known
from runner.checkpoint.archive.verify import open_regular
from runner.checkpoint.inert import TensorFacts, dense_facts
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
        except ValueError as error:
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
    header = _header(file.read(length))
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(type(text) is str for text in metadata.values()):
        raise ValueError("its metadata are not strings")
    tensors = sorted((_facts(name, entry) for name, entry in header.items()), key=lambda found: found[1])
    _check_places([place for _, place, _ in tensors], size - 8 - length)
    return WeightFile(file, {name: (8 + length + begin, facts) for name, (begin, _), facts in tensors}, metadata)


def _header(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("its header is nested too deeply") from error
    if not isinstance(header, dict):
        raise ValueError("its header is not a JSON object")
    return header


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is not a length")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise ValueError("it has a name twice")
    return entries


def _facts(name: str, entry: Any) -> tuple[str, tuple[int, int], TensorFacts]:
    if not isinstance(entry, dict) or not entry.keys() >= {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"its entry {name[:60]!r} does not describe a tensor")
    if (dtype := DTYPES.get(str(entry["dtype"]))) is None:
        raise ValueError(f"the dtype {str(entry['dtype'])[:60]!r} is unknown")
    facts, place = dense_facts(name, f"torch.{dtype}", entry["shape"]), entry["data_offsets"]
    if not isinstance(place, list) or len(place) != 2 or not all(type(at) is int and 0 <= at < 2**63 for at in place):
        raise ValueError("a tensor has an invalid place")
    begin, end = place
    if facts.size != end - begin:
        raise ValueError("a tensor's size does not match its shape")
    return name, (begin, end), facts


def _check_places(places: list[tuple[int, int]], size: int) -> None:
    position = 0
    for begin, end in places:
        if begin != position:
            raise ValueError("its tensors overlap or leave gaps")
        position = end
    if position != size:
        raise ValueError(f"its tensors take {position} bytes, but it has {size}")
