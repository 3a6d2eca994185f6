"""Build tensors from the facts in a structure and the bytes in its file, without running the file's code."""

import sys
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.storage import TypedStorage, UntypedStorage

from runner.checkpoint.archive.verify import Archive
from runner.checkpoint.inert import Device, Dtype, QuantizedFacts, Size, SparseFacts, Storage, TensorFacts
from runner.checkpoint.reader.structure import Structure, uncollected
from runner.checkpoint.sharded.opening import ShardedArchive
from runner.checkpoint.sharded.table import PREFIX
from runner.stateful import Absent
from runner.text import first_line

# torch types these too narrowly, or not at all.
_make_coo: Any = torch.sparse_coo_tensor
_make_compressed: Any = torch.sparse_compressed_tensor
_make_quantized: Any = torch._utils._rebuild_qtensor
_typed: Any = TypedStorage


def build(archive: Archive, structure: Structure) -> Any:
    """Return a checked structure with real tensors, dtypes, devices and sizes; changes its dictionaries and lists.

    Checks every byte of the archive, those of tensors in the tensors' own memory. Tensors that share a storage in the
    file share it in memory.

    Raises:
        ValueError: a checksum does not match, the values of a sparse or quantized tensor are inconsistent, or torch
            does not know a dtype.
    """
    return _built(archive, structure, structure.storages.values())


def build_outline(archive: Archive, structure: Structure) -> Any:
    """Return a checked structure as `build` does, with `Absent` for each tensor in shards, whose bytes are checked."""
    divided = isinstance(archive, ShardedArchive)
    here = [storage for key, storage in structure.storages.items() if not (divided and key.startswith(PREFIX))]
    return _built(archive, structure, here)


def _built(archive: Archive, structure: Structure, wanted: Collection[Storage]) -> Any:
    memory = _read(archive, wanted, structure.byte_order)
    archive.check([name for name in archive.members if name.removeprefix("data/") not in memory])
    return built(structure.content, memory)


def check_odd(archive: Archive, structure: Structure) -> None:
    """Check that the sparse and quantized tensors can be built; for other tensors the facts suffice.

    Raises:
        ValueError: as `build`.
    """
    storages = {storage.key: storage for facts in structure.odd for storage in facts.storages}
    built(list(structure.odd), _read(archive, storages.values(), structure.byte_order))


def built(content: Any, memory: Mapping[str, UntypedStorage]) -> Any:
    """Return a structure with real tensors; `memory` has the bytes of each storage, by key.

    Raises:
        ValueError: the values of a sparse or quantized tensor are inconsistent, or torch does not know a dtype.
    """
    try:
        with uncollected():
            return _Builder(memory).built(content)
    except (RuntimeError, ValueError, TypeError, IndexError, OverflowError) as error:
        raise ValueError(f"a tensor cannot be built: {first_line(error) or repr(error)}") from error


def _read(archive: Archive, storages: Iterable[Storage], order: str) -> dict[str, UntypedStorage]:
    memory = {storage.key: torch.empty(storage.size, dtype=torch.uint8) for storage in storages}
    kept = {f"data/{key}": memoryview(tensor.numpy()) for key, tensor in memory.items()}  # type: ignore[arg-type]
    archive.check(list(kept), kept)
    found = {key: tensor.untyped_storage() for key, tensor in memory.items()}
    if order != sys.byteorder:
        for storage in storages:
            found[storage.key].byteswap(_dtype(storage.dtype))  # type: ignore[no-untyped-call]
    return found


class _Builder:
    def __init__(self, storages: Mapping[str, UntypedStorage]) -> None:
        self._storages = storages
        self._filled: set[int] = set()  # ids of lists and dictionaries, changed in place
        self._made: dict[int, tuple[Any, Any]] = {}  # by id, with the source: or its id could be reused

    def built(self, value: Any) -> Any:
        """Return the real object for a value; a plain value, list or dictionary stays the same object."""
        kind = type(value)
        if kind in _PLAIN:
            return value
        if kind in _STANDS_FOR:
            return _STANDS_FOR[kind](value)
        if kind is tuple:
            return tuple(map(self.built, value))
        if isinstance(value, (list, dict)):
            self._fill(value)
            return value
        if id(value) not in self._made:
            made = self._tensor(value) if isinstance(value, TensorFacts) else set(map(self.built, value))
            self._made[id(value)] = value, made
        return self._made[id(value)][1]

    def _fill(self, value: Any) -> None:
        if id(value) in self._filled:
            return
        self._filled.add(id(value))
        if isinstance(value, dict) and not _PLAIN.issuperset(map(type, value)):
            items = [(self.built(key), item) for key, item in value.items()]
            value.clear()
            for key, item in items:  # a Counter's update would add counts
                value[key] = item
        for place, item in value.items() if isinstance(value, dict) else enumerate(value):
            if type(item) not in _PLAIN:
                value[place] = self.built(item)

    def _tensor(self, facts: TensorFacts) -> Any:
        if isinstance(facts, SparseFacts):
            return self._sparse(facts)
        if isinstance(facts, QuantizedFacts):
            return self._quantized(facts)
        key = facts.storages[0].key
        if key.startswith(PREFIX) and key not in self._storages:
            return Absent(key.removeprefix(PREFIX), _dtype(facts.dtype), facts.shape)
        tensor = torch.empty(0, dtype=_dtype(facts.dtype))
        tensor.set_(self._storages[facts.storages[0].key], facts.offset, facts.shape, facts.stride)
        if facts.marks:
            torch._utils.set_tensor_metadata(tensor, facts.marks)  # type: ignore[no-untyped-call]
        return tensor

    def _sparse(self, facts: SparseFacts) -> Tensor:
        *places, values = (self._tensor(part) for part in facts.parts)
        layout = getattr(torch, facts.layout.removeprefix("torch."))
        if layout is torch.sparse_coo:
            known: dict[str, Any] = {"is_coalesced": True} if facts.coalesced else {}
            return _make_coo(*places, values, facts.shape, check_invariants=True, **known)  # type: ignore[no-any-return]
        return _make_compressed(*places, values, facts.shape, layout=layout, check_invariants=True)  # type: ignore[no-any-return]

    def _quantized(self, facts: QuantizedFacts) -> Tensor:
        scheme, *values = (getattr(torch, facts.scheme[0].name.removeprefix("torch.")), *facts.scheme[1:])
        values = [self._tensor(value) if isinstance(value, TensorFacts) else value for value in values]
        storage = _typed(wrap_storage=self._storages[facts.storages[0].key], dtype=_dtype(facts.dtype), _internal=True)
        return _make_quantized(storage, facts.offset, facts.shape, facts.stride, (scheme, *values), False, None)  # type: ignore[no-any-return]


def _dtype(name: str) -> torch.dtype:
    found = getattr(torch, name.removeprefix("torch."), None)
    if not isinstance(found, torch.dtype):
        raise ValueError(f"this version of torch has no {name}")
    return found


_PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes, bytearray})
_STANDS_FOR: dict[type, Any] = {Dtype: _dtype, Device: torch.device, Size: torch.Size}
