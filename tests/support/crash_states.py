"""What a kill or a power cut may leave of a directory, from a record of what was really done in it."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from random import Random
from typing import Any, BinaryIO

from runner.files import Disk

DIRECTORY = "/"
_MOST_SUBSETS = 256  # of one crash's unsynced names: all of them up to eight, then all prefixes and a sample

Node = int | str
"""What a name stands for: the number of a file, `DIRECTORY`, or the target of a symbolic link."""
Tree = dict[str, bytes | str]
"""A directory's content by relative path: a file's bytes, `DIRECTORY`, or the target of a symbolic link."""


@dataclass(frozen=True)
class Named:
    """Names that changed in one step; None for one that is gone."""

    nodes: Mapping[str, Node | None]

    @property
    def folders(self) -> set[str]:
        """The directories that hold these names."""
        return {os.path.dirname(name) for name in self.nodes}


@dataclass(frozen=True)
class Written:
    """A file has these bytes for its readers."""

    file: int
    content: bytes


@dataclass(frozen=True)
class Synced:
    """A file's bytes are on the disk."""

    file: int


@dataclass(frozen=True)
class FolderSynced:
    """A directory's names are on the disk."""

    folder: str


@dataclass(frozen=True)
class Said:
    """What a user had been told by then."""

    what: Any


class Recorder(Disk):
    """Does what is asked for below `root`, and writes down every change that is seen there, whoever made it.

    Names and bytes are looked at before and after each operation, so that also what a writer does
    past this seam is on record; `aside` is a directory of the same file system for its own use.
    """

    def __init__(self, root: Path, aside: Path) -> None:
        self.root, self.events = root, list[Any]()
        self._aside = aside
        self._nodes: dict[str, Node] = {}
        self._contents: dict[int, bytes] = {}

    def say(self, what: Any) -> None:
        """Record that a user was told something."""
        self.look()
        self.events.append(Said(what))

    def look(self, *, at_once: bool = False) -> None:
        """Record the changes since the last look, the names in one step or each by itself."""
        found = dict(self._found())
        changed = {n: found.get(n) for n in sorted(found | self._nodes) if found.get(n) != self._nodes.get(n)}
        if changed:
            self.events += [Named(changed)] if at_once else [Named({name: node}) for name, node in changed.items()]
        self._nodes = found
        for name, node in found.items():
            if isinstance(node, int) and (content := (self.root / name).read_bytes()) != self._contents.get(node, b""):
                self._contents[node] = content
                self.events.append(Written(node, content))

    def _found(self) -> Iterator[tuple[str, Node]]:
        for path in self.root.rglob("*"):
            name = str(path.relative_to(self.root))
            if path.is_symlink():
                yield name, os.readlink(path)
            elif path.is_dir():
                yield name, DIRECTORY
            else:
                yield name, self._number(path)

    def _number(self, path: Path) -> int:
        number = path.stat().st_ino
        held = self._aside / str(number)
        if not held.exists():
            os.link(path, held)  # so that no later file gets this number
        return number

    def create(self, path: Path) -> BinaryIO:
        """Open a new file and record its name."""
        self.look()
        file = super().create(path)
        self.look()
        return file

    def sync(self, file: BinaryIO) -> None:
        """Record the file's bytes as durable."""
        file.flush()
        self.look()
        self.events.append(Synced(os.fstat(file.fileno()).st_ino))

    def replace(self, source: Path, target: Path) -> None:
        """Rename, and record both names as changed in one step."""
        self.look()
        super().replace(source, target)
        self.look(at_once=True)

    def link(self, source: Path, target: Path) -> None:
        """Link and record the new name."""
        self.look()
        super().link(source, target)
        self.look()

    def unlink(self, path: Path) -> None:
        """Remove a name and record that it is gone."""
        self.look()
        super().unlink(path)
        self.look()

    def sync_directory(self, path: Path) -> None:
        """Record the directory's names as durable."""
        self.look()
        name = str(path.relative_to(self.root))
        self.events.append(FolderSynced("" if name == "." else name))


def after_a_crash(events: list[Any], *, first: int = 0) -> Iterator[tuple[Any, Tree]]:
    """Yield each state that a crash after any event from the `first` may leave, with what the user had been told last.

    Of what was not synced any subset may be there: each change of names, and of a file's bytes
    nothing, a part, zeros or all. A kill leaves all of it, an ordered loss a prefix: both are among the subsets.
    """
    seen = set()
    for end in range(first, len(events) + 1):
        told = next((e.what for e in reversed(events[:end]) if isinstance(e, Said)), None)
        for tree in _left_of(events[:end]):
            state = (told, tuple(sorted(tree.items())))
            if state not in seen:
                seen.add(state)
                yield told, tree


def _left_of(events: list[Any]) -> Iterator[Tree]:
    contents = _contents(events)
    named = [(at, event) for at, event in enumerate(events) if isinstance(event, Named)]
    pending = [at for at, event in named if not _is_durable(event, events[at:])]
    for lost in _subsets(pending):
        nodes: dict[str, Node] = {}
        for at, event in named:
            if at not in lost:
                nodes.update({name: node for name, node in event.nodes.items() if node is not None})
                for name in [name for name, node in event.nodes.items() if node is None]:
                    nodes.pop(name, None)
        reachable = {name: node for name, node in nodes.items() if _is_reachable(name, nodes)}
        files = sorted({node for node in reachable.values() if isinstance(node, int)})
        for chosen in product(*(contents.get(file, [b""]) for file in files)):
            found = dict(zip(files, chosen, strict=True))
            yield {name: found[node] if isinstance(node, int) else node for name, node in reachable.items()}


def _is_durable(event: Named, later: list[Any]) -> bool:
    return any(isinstance(other, FolderSynced) and other.folder in event.folders for other in later)


def _is_reachable(name: str, nodes: Mapping[str, Node]) -> bool:
    folder = os.path.dirname(name)
    return not folder or (nodes.get(folder) == DIRECTORY and _is_reachable(folder, nodes))


def _subsets(pending: list[int]) -> Iterator[set[int]]:
    count = len(pending)
    if 2**count <= _MOST_SUBSETS:
        yield from ({at for bit, at in enumerate(pending) if mask >> bit & 1} for mask in range(2**count))
        return
    yield from (set(pending[start:]) for start in range(count + 1))
    chance = Random(count)
    yield from ({at for at in pending if chance.random() < 0.5} for _ in range(_MOST_SUBSETS))


def _contents(events: list[Any]) -> dict[int, list[bytes]]:
    """Return what the bytes of each file may be."""
    durable: dict[int, bytes] = {}
    newest: dict[int, bytes] = {}
    for event in events:
        if isinstance(event, Written):
            newest[event.file] = event.content
        elif isinstance(event, Synced):
            durable[event.file] = newest.get(event.file, b"")
    return {file: _between(durable.get(file, b""), content) for file, content in newest.items()}


def _between(old: bytes, new: bytes) -> list[bytes]:
    if old == new:
        return [new]
    half = len(new) // 2
    return list(
        dict.fromkeys([old, new[:half] + old[half:], bytes(len(new)), new[:half] + bytes(len(new) - half), new])
    )


def lay_out(tree: Tree, root: Path, pool: dict[bytes, Path]) -> None:
    """Make `root` hold exactly this content; equal bytes are written once, into the files of `pool`."""
    for name in sorted(tree):
        path, what = root / name, tree[name]
        if what == DIRECTORY:
            path.mkdir(parents=True)
        elif isinstance(what, str):
            path.symlink_to(what)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            if what not in pool:
                pool[what] = root.parent / f"bytes_{len(pool)}"
                pool[what].write_bytes(what)
            os.link(pool[what], path)
