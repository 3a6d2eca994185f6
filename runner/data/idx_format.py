"""The IDX format of MNIST's files. https://github.com/cvdfoundation/mnist"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import torch
from torch import Tensor

from runner.errors import DataMissing


def read_idx(path: Path) -> Tensor:
    """Return an IDX file, gzipped or not, as a uint8 tensor of the declared shape.

    Raises:
        DataMissing: the file is missing, damaged, or not an IDX file of bytes.
    """
    try:
        raw = path.read_bytes()
        data = bytearray(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw)
        kind, dimensions = data[2], data[3]
        shape = struct.unpack(f">{dimensions}I", data[4 : 4 + 4 * dimensions])
    except (OSError, EOFError, IndexError, struct.error, zlib.error) as error:
        raise DataMissing(f"{path} cannot be read ({error}); fetch it again") from error
    start = 4 + 4 * dimensions
    if data[:2] != b"\0\0" or kind != 8 or len(data) == start or len(data) - start != math.prod(shape):
        raise DataMissing(f"{path} is not a complete IDX file of bytes; fetch it again")
    return torch.frombuffer(data, dtype=torch.uint8, offset=start).reshape(shape)
