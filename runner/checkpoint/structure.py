"""What a pickled structure says, without anything that it names being imported or called.

Classes and functions become inert stand-ins, tensors become facts. Work and memory are bounded by
the length of the pickle and by `MOST_STEPS`, whatever it holds.
"""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any, ClassVar

from runner.checkpoint.inert import Inert, Storage, is_plain, storage

MOST_STEPS = 8_000_000  # some four seconds; a tensor takes about 25
_MOST_ODD_KEYS = 10_000  # of a kind whose hashes a file can make collide

# The one written in Python: its memo is a dictionary, whereas the C one allocates what the file asks for.
_Unpickler: Any = pickle._Unpickler
_unframer: Any = vars(pickle)["_Unframer"]
_Stop: Any = vars(pickle)["_Stop"]


@dataclass(frozen=True)
class Structure:
    """What a pickle holds."""

    content: Any
    storages: list[Storage]
    foreign: list[str]
    """The names of what is neither a tensor nor plain; opening the file for real could run them."""


class TooLarge(ValueError):
    """A structure that takes more steps to read than any checkpoint."""


def read_structure(pickled: bytes) -> Structure:
    """Return the structure of a pickle.

    Raises:
        TooLarge: it takes unreasonably long.
        Exception: whatever the pickle module raises of a malformed pickle.
    """
    reader = _Reader(BytesIO(pickled))
    content = reader.load()
    return Structure(content, reader.storages, list(reader.foreign))


def _is_small(key: Any) -> bool:
    return isinstance(key, (str, bytes, float, bool, type(None), Inert)) or (type(key) is int and abs(key) < 2**60)


class _Reader(_Unpickler):  # type: ignore[misc]
    def __init__(self, file: BytesIO) -> None:
        super().__init__(file)
        self.storages: list[Storage] = []
        self.foreign: dict[str, None] = {}
        self._steps = self._odd_keys = 0

    def find_class(self, module: str, name: str) -> Any:
        """Return a stand-in; the name is remembered if it is not one of plain data."""
        full = f"{'builtins' if module == '__builtin__' else module}.{name}"
        if not is_plain(full):
            self.foreign[full[:200]] = None
        return Inert(full[:200])

    def persistent_load(self, pid: Any) -> Storage:
        """Return the storage that a tensor refers to."""
        self.storages.append(storage(pid))
        return self.storages[-1]

    def load(self) -> Any:
        """Do as the parent does, and count."""
        unframer = _unframer(self._file_read, self._file_readline)
        self._unframer = unframer
        self.read, self.readinto, self.readline = unframer.read, unframer.readinto, unframer.readline
        self.metastack: list[Any] = []
        self.stack: list[Any] = []
        self.append = self.stack.append
        self.proto = 0
        read, dispatch = self.read, self.dispatch
        try:
            for _ in range(MOST_STEPS):
                dispatch[read(1)[0]](self)
        except _Stop as stop:
            return stop.value
        except IndexError as error:
            raise EOFError("its structure ends early") from error
        raise TooLarge(f"its structure takes more than {MOST_STEPS} steps to read")

    def _check_key(self, key: Any) -> None:
        if _is_small(key):
            return
        self._odd_keys += 1
        flat = type(key) is int or (type(key) is tuple and len(key) <= 8 and all(map(_is_small, key)))
        if not flat and isinstance(key, tuple):
            raise TooLarge("its structure has a nested key")
        if self._odd_keys > _MOST_ODD_KEYS:
            raise TooLarge(f"its structure has more than {_MOST_ODD_KEYS} keys that are no names")

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._check_key(key)
        self.stack[-1][key] = value

    def _set_items(self) -> None:
        items = self.pop_mark()
        for index in range(0, len(items), 2):
            self._check_key(items[index])
            self.stack[-1][items[index]] = items[index + 1]

    def _dictionary(self) -> None:
        items = self.pop_mark()
        for key in items[::2]:
            self._check_key(key)
        self.append(dict(zip(items[::2], items[1::2], strict=True)))

    def _list_for_set(self) -> None:
        self.append([])

    def _add_items(self) -> None:
        items = self.pop_mark()
        self.stack[-1].extend(items)

    def _frozen(self) -> None:
        self.append(self.pop_mark())

    def _new(self) -> None:
        self.stack.pop()
        self.append(self._instance(self.stack.pop()))

    def _new_with_keywords(self) -> None:
        self.stack.pop()
        self._new()

    def _old_instance(self) -> None:
        module, name = self.readline()[:-1].decode("ascii"), self.readline()[:-1].decode("ascii")
        self.pop_mark()
        self.append(self._instance(self.find_class(module, name)))

    def _old_object(self) -> None:
        self.append(self._instance(self.pop_mark()[0]))

    def _ignore_state(self) -> None:
        self.stack.pop()

    @staticmethod
    def _instance(kind: Any) -> Inert:
        return Inert(kind.name) if isinstance(kind, Inert) else Inert()

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        **_Unpickler.dispatch,
        pickle.SETITEM[0]: _set_item,
        pickle.SETITEMS[0]: _set_items,
        pickle.DICT[0]: _dictionary,
        pickle.EMPTY_SET[0]: _list_for_set,
        pickle.ADDITEMS[0]: _add_items,
        pickle.FROZENSET[0]: _frozen,
        pickle.NEWOBJ[0]: _new,
        pickle.NEWOBJ_EX[0]: _new_with_keywords,
        pickle.INST[0]: _old_instance,
        pickle.OBJ[0]: _old_object,
        pickle.BUILD[0]: _ignore_state,
    }
