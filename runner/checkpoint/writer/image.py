"""A checkpoint file in memory: laid out once, refilled at each save, written in the background.

A save copies each storage into its place in the future file. Checksums, structure and writing work on that copy, so
that training can continue.
"""

import mmap
import struct
from collections.abc import Collection, Mapping
from itertools import takewhile
from typing import Any, BinaryIO

import torch
from torch import Tensor
from torch.storage import UntypedStorage

from runner.checkpoint.archive.checksums import crc32
from runner.checkpoint.archive.layout import CRC_IN_LOCAL, Member, directory, local_header, place
from runner.checkpoint.reader.entries import FORMAT
from runner.checkpoint.reader.summary import MEMBER, summary
from runner.checkpoint.writer.pickling import identity, pickled, storages
from runner.checkpoint.writer.readable import check_directory, check_structure
from runner.files import Disk

_GRANULE = 2 << 20  # bytes; memory is allocated in huge pages


class Image:
    """Memory for one state after another; only the latest copy can be written."""

    def __init__(self) -> None:
        self._memory = torch.empty(0, dtype=torch.uint8)
        self._members: list[Member] = []
        self._slots: list[UntypedStorage] = []
        self._content: Mapping[str, Any] = {}
        self._keys: dict[int, int] = {}
        self._arrived: list[torch.cuda.Event] = []

    def take(self, content: Mapping[str, Any], absent: Collection[int] = ()) -> None:
        """Copy the bytes of every tensor in `content`, whose containers must not change afterwards.

        Copies from a GPU are queued on its stream when this returns. Storages of the `absent` identities are only
        given their place; whoever has their bytes writes them into `tensor`.
        """
        found = {identity(storage): storage for storage in storages(content)}
        sources = list(found.values())
        self._content, self._keys = content, {name: key for key, name in enumerate(found)}
        self._lay_out([source.nbytes() for source in sources], pinned=any(s.device.type == "cuda" for s in sources))
        for slot, source in zip(self._slots, sources, strict=True):
            if identity(source) not in absent:
                slot.copy_(source, non_blocking=True)
        self._arrived = [_event(device) for device in {s.device for s in sources if s.device.type == "cuda"}]

    def tensor(self, live: Tensor) -> Tensor:
        """Return the copy of a tensor; a sparse tensor itself."""
        if live.layout is not torch.strided:
            return live
        storage = self._slots[self._keys[identity(live.untyped_storage())]]
        taken = torch.empty(0, dtype=live.dtype)
        return taken.set_(storage, live.storage_offset(), live.size(), live.stride())

    def wait(self) -> None:
        """Return once every copy is complete."""
        for event in self._arrived:
            event.synchronize()

    def write(self, file: BinaryIO, disk: Disk) -> None:
        """Write the file.

        Raises:
            Unsavable: a reader would refuse the file.
        """
        self.wait()
        memory = memoryview(self._memory.numpy())  # type: ignore[arg-type]
        members = [self._sealed(memory, member) for member in self._members]
        end = members[-1].end if members else 0
        disk.put(file, memory[:end])
        file.write(self._tail(members, end))

    def _sealed(self, memory: memoryview, member: Member) -> Member:
        """Return a member with its CRC, and put that into the member's header."""
        crc = crc32(memory[member.start : member.end])
        struct.pack_into("<L", memory, member.header + CRC_IN_LOCAL, crc)
        return Member(member.name, member.size, member.header, member.start, crc)

    def _tail(self, members: list[Member], position: int) -> bytes:
        """Return the part of the file after the tensors, which are `members`."""
        pieces: list[bytes] = []
        structure = pickled(self._content, self._keys)
        check_structure(self._content, structure, len(members))
        said = {MEMBER: summary(self._content)} if self._content.get("format") == FORMAT else {}
        for name, text in {"data.pkl": structure, "byteorder": b"little", "version": b"3\n", **said}.items():
            members.append(place(name, len(text), position, crc32(text)))
            pieces += [local_header(members[-1]), text]
            position = members[-1].end
        listed = directory(members, position)
        check_directory(len(listed))
        return b"".join([*pieces, listed])

    def _lay_out(self, sizes: list[int], *, pinned: bool) -> None:
        """Give every storage its place; leading storages of unchanged size keep theirs."""
        same = sum(1 for _ in takewhile(lambda pair: pair[0].size == pair[1], zip(self._members, sizes, strict=False)))
        del self._members[same:]
        position = self._members[-1].end if self._members else 0
        for key, size in enumerate(sizes[same:], start=same):
            self._members.append(place(f"data/{key}", size, position))
            position = self._members[-1].end
        if position > len(self._memory) or pinned != self._memory.is_pinned():
            self._memory, same = _memory(position, pinned=pinned), 0
        del self._slots[same:]
        memory = self._memory.numpy()
        for member in self._members[same:]:
            memory[member.header : member.start] = bytearray(local_header(member))
            self._slots.append(torch.from_numpy(memory[member.start : member.end]).untyped_storage())


def _event(device: torch.device) -> torch.cuda.Event:
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record(torch.cuda.current_stream(device))
    return event


def _memory(size: int, *, pinned: bool) -> Tensor:
    """Return page-aligned memory; unless pinned, forked loader workers do not share it.

    The next save would have to copy shared pages one by one.
    """
    whole = -(-max(size, 1) // _GRANULE) * _GRANULE
    if pinned:
        return torch.empty(whole, dtype=torch.uint8, pin_memory=True)
    pages = mmap.mmap(-1, whole, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for name in ("MADV_DONTFORK", "MADV_HUGEPAGE"):
        if hasattr(mmap, name):
            pages.madvise(getattr(mmap, name))
    return torch.frombuffer(pages, dtype=torch.uint8)
