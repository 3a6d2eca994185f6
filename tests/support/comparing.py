"""Checkpoints and runs read with plain tools, and compared bit for bit."""

import csv
import math
import warnings
from pathlib import Path
from typing import Any

import torch


def entries_of(path: Path) -> dict[str, Any]:
    """Read a checkpoint with plain PyTorch."""
    entries = torch.load(path / "general.tar" if path.is_dir() else path, weights_only=True)
    assert isinstance(entries, dict)
    if path.is_dir():
        _join(entries, path)
    return entries


def _join(entries: dict[str, Any], folder: Path) -> None:
    """Put the tensors of a sharded checkpoint into their places, with torch.distributed.checkpoint's own reader."""
    from torch.distributed.checkpoint import HuggingFaceStorageReader, load

    table = entries.pop("shards")
    tensors = {
        name: torch.empty(one["shape"], dtype=getattr(torch, one["dtype"].removeprefix("torch.")))
        for name, one in table.items()
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")
        load(tensors, storage_reader=HuggingFaceStorageReader(str(folder)), no_dist=True)
    for name, one in table.items():
        place: Any = entries
        for key in one["at"][:-1]:
            place = place[key]
        place[one["at"][-1]] = tensors[name]


def difference(one: Any, other: Any, place: str = "") -> str | None:
    """Return the first place where two states are not equal bit for bit; times are exempt."""
    if place in (".progress_state_dict.seconds", ".created", ".environment", ".config"):
        return None
    if isinstance(one, torch.Tensor):
        return None if isinstance(other, torch.Tensor) and torch.equal(one, other) else place
    if type(one) is not type(other):
        return place
    if isinstance(one, dict):
        if list(one) != list(other):
            return place
        return next((d for k in one if (d := difference(one[k], other[k], f"{place}.{k}"))), None)
    if isinstance(one, (list, tuple)):
        pairs = enumerate(zip(one, other, strict=False))
        found = next((d for i, (a, b) in pairs if (d := difference(a, b, f"{place}[{i}]"))), None)
        return found or (None if len(one) == len(other) else place)
    same = one == other or (isinstance(one, float) and math.isnan(one) and math.isnan(other))
    return None if same else place


def same(one: Any, other: Any) -> bool:
    """Return whether two nests are equal, NaN to NaN, tensors bit for bit, a parameter as a tensor."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        kinds = [(tensor.dtype, tensor.shape, tensor.layout) for tensor in (one, other)]
        return kinds[0] == kinds[1] and _content(one) == _content(other)
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other if isinstance(one, set) else repr(one) == repr(other)


def _content(tensor: torch.Tensor) -> bytes | str:
    """Return the bytes of a dense tensor, what is printed of another."""
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_meta:
        return str(tensor.detach())
    return tensor.detach().resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def rows_in(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def rows_of(run: Path) -> list[dict[str, str]]:
    """Return the rows of metrics.csv without the times."""
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows_in(run / "metrics.csv")]


def assert_same_run(one: Path, other: Path) -> None:
    """Assert that two runs ended in the same bits and left the same metrics."""
    assert difference(entries_of(one / "last.tar"), entries_of(other / "last.tar")) is None
    assert difference(entries_of(one / "best.tar"), entries_of(other / "best.tar")) is None
    assert rows_of(one) == rows_of(other)
