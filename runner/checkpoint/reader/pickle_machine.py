"""A stack machine for pickles, with only the opcodes that `torch.save` uses for plain values.

A name becomes an inert stand-in, and a call the facts of its result. Any other opcode is refused before its argument
is read, which `pickletools.genops` cannot do. https://github.com/python/cpython/blob/main/Lib/pickletools.py
"""

import pickle
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from io import BytesIO
from pickle import UnpicklingError
from pickletools import read_float8, read_int4, read_long1, read_uint1, read_uint2, read_uint4, read_unicodestring4
from typing import Any, ClassVar

from runner.checkpoint.inert import Size, Storage, TensorFacts
from runner.checkpoint.reader.forms import is_key, made, named, storage

MOST_ODD_KEYS = 5_000  # keys whose hashes a file can make collide
_COPIED = (str, bytes, list, dict, tuple, Size)
SCALARS = (type(None), bool, int, float, str)


class Unreasonable(ValueError):
    """A structure that no checkpoint has: too large, or not as torch.save writes it."""


class Foreign(ValueError):
    """A structure that names something other than tensors and plain values; the message is that name."""


class Machine:
    """Runs one pickle; its memo is a dictionary, so that no index in a file can allocate memory."""

    def __init__(self, pickled: bytes, most: int) -> None:
        self.storages: dict[str, Storage] = {}
        self.odd: list[TensorFacts] = []
        self.fits = True
        self._file, self._length, self._most = BytesIO(pickled), len(pickled), most
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []  # the stacks under the marks
        self._memory: dict[int, Any] = {}
        self._copied = self._encoded = self._odd_keys = 0

    def run(self) -> Any:
        """Return what the pickle holds.

        Raises:
            Unreasonable: it takes too many steps, has another opcode or too many odd keys, or repeats values.
            Foreign: it names something other than tensors and plain values.
            ValueError, EOFError, UnpicklingError: it is malformed.
        """
        file, read, memory, actions = self._file, self._file.read, self._memory, self._ACTIONS
        try:
            for _ in range(self._most):
                code = read(1)
                if code in _VALUES:
                    self._stack.append(_VALUES[code](file))
                elif code in _PUTS:
                    memory[_PUTS[code](file)] = self._stack[-1]
                elif code in _GETS:
                    self._stack.append(memory[_GETS[code](file)])
                elif code in actions:
                    count, act = actions[code]
                    act(self, self._taken(count))
                else:
                    return self._ended(code)
        except IndexError as error:
            raise EOFError("its structure ends early") from error
        except KeyError as error:
            raise UnpicklingError(f"Memo value not found at index {error}") from error
        raise Unreasonable(f"its structure takes more than {self._most} steps to read")

    def _ended(self, code: bytes) -> Any:
        if code == pickle.STOP:
            return self._stack.pop()
        if code:
            raise Unreasonable(f"its structure has the opcode {code[0]}, which no state_dict of torch.save has")
        raise EOFError("its structure ends early")

    def _taken(self, count: int | None) -> list[Any]:
        """Pop `count` values from the stack, or all above the latest mark."""
        stack = self._stack
        if count is None:
            self._stack = self._below.pop()
            return stack
        if (start := len(stack) - count) < 0:
            raise IndexError
        items = stack[start:]
        del stack[start:]
        return items

    def _check_protocol(self, _: list[Any]) -> None:
        if (version := read_uint1(self._file)) > pickle.HIGHEST_PROTOCOL:
            raise ValueError(f"unsupported pickle protocol: {version}")

    def _mark(self, _: list[Any]) -> None:
        self._below.append(self._stack)
        self._stack = []

    def _tuple(self, items: list[Any]) -> None:
        self._stack.append(tuple(items))

    def _storage(self, items: list[Any]) -> None:
        found = storage(items[0])
        known = self.storages.setdefault(found.key, found)
        if (known.dtype, known.size) != (found.dtype, found.size):
            raise UnpicklingError("it describes one storage in two ways")
        self._stack.append(known)

    def _check_key(self, key: Any, others: int) -> None:
        if not is_key(key):
            raise UnpicklingError("its structure has a key that is not a plain value")
        self._odd_keys += is_odd(key, others)
        if self._odd_keys > MOST_ODD_KEYS:
            raise Unreasonable(f"its structure has more than {MOST_ODD_KEYS} keys that are tuples or numbers")

    def _set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) not in (dict, OrderedDict, Counter):
            raise UnpicklingError("its structure sets keys of a value that is not a dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            self._check_key(key, len(target))
            target[key] = value

    def _extend(self, items: list[Any]) -> None:
        if type(self._stack[-1]) is not list:
            raise UnpicklingError("its structure appends to a value that is not a list")
        self._stack[-1].extend(items)

    def _call(self, items: list[Any]) -> None:
        arguments = items[0]
        for argument in arguments if type(arguments) is tuple else ():
            if type(argument) in _COPIED:
                self._copy(argument)
        result = made(self._stack[-1], arguments)
        if isinstance(result, TensorFacts):
            self.fits = self.fits and result.fits
            if type(result) is not TensorFacts:
                self.odd.append(result)
        self._stack[-1] = result

    def _copy(self, argument: Any) -> None:
        """Bound what a call copies: torch writes each copied element out, a hostile pickle repeats a reference."""
        if type(argument) in (str, bytes):
            self._encoded += len(argument)
        else:
            self._copied += len(argument)
            if type(argument) is list:
                for index, key in enumerate(argument):
                    self._check_key(key, index)
        if self._encoded > 2 * self._length or self._copied > self._most:
            raise Unreasonable("its structure repeats the same values")

    def _attributes(self, items: list[Any]) -> None:
        """Set the attribute that a module's state_dict has, `_metadata`, and refuse any other."""
        state, target = items[0], self._stack[-1]
        if type(target) is not OrderedDict or type(state) is not dict or not state.keys() <= {"_metadata"}:
            raise UnpicklingError("its structure sets attributes of a plain value")
        if not is_metadata(state.get("_metadata", {})):
            raise UnpicklingError("its structure sets invalid attributes")
        target.__dict__.update(state)

    _ACTIONS: ClassVar[Mapping[bytes, tuple[int | None, Callable[[Any, list[Any]], None]]]] = {
        pickle.PROTO: (0, _check_protocol),
        pickle.MARK: (0, _mark),
        pickle.TUPLE: (None, _tuple),
        pickle.TUPLE1: (1, _tuple),
        pickle.TUPLE2: (2, _tuple),
        pickle.TUPLE3: (3, _tuple),
        pickle.APPEND: (1, _extend),
        pickle.APPENDS: (None, _extend),
        pickle.SETITEM: (2, _set_items),
        pickle.SETITEMS: (None, _set_items),
        pickle.BINPERSID: (1, _storage),
        pickle.REDUCE: (1, _call),
        pickle.BUILD: (1, _attributes),
    }


def _stand_in(file: BytesIO) -> Any:
    module, name = (file.readline()[:-1].decode() for _ in range(2))
    full = f"{'builtins' if module == '__builtin__' else module}.{name}"
    found = named(full)
    if found is None:
        raise Foreign(full[:200])
    return found


_VALUES: Mapping[bytes, Callable[[BytesIO], Any]] = {
    pickle.NONE: lambda _: None,
    pickle.NEWTRUE: lambda _: True,
    pickle.NEWFALSE: lambda _: False,
    pickle.BININT: read_int4,
    pickle.BININT1: read_uint1,
    pickle.BININT2: read_uint2,
    pickle.LONG1: read_long1,
    pickle.BINFLOAT: read_float8,
    pickle.BINUNICODE: read_unicodestring4,
    pickle.EMPTY_LIST: lambda _: [],
    pickle.EMPTY_DICT: lambda _: {},
    pickle.EMPTY_TUPLE: lambda _: (),
    pickle.GLOBAL: _stand_in,
}
_PUTS = {pickle.BINPUT: read_uint1, pickle.LONG_BINPUT: read_uint4}
_GETS = {pickle.BINGET: read_uint1, pickle.LONG_BINGET: read_uint4}


def is_odd(key: Any, others: int) -> bool:
    """Return whether a file can make a key's hash collide: unlike a string, whose hash is salted, or a small index."""
    if type(key) is int:
        return not 0 <= key <= 2 * others + 64
    return isinstance(key, (float, tuple))


def is_metadata(value: Any) -> bool:
    """Return whether a value is like a state_dict's `_metadata`: for each module, plain values by name."""
    if type(value) not in (dict, OrderedDict):
        return False
    inner = (entry for name, entry in value.items() if type(name) is str and type(entry) in (dict, OrderedDict))
    return all(type(name) is str and type(item) in SCALARS for entry in inner for name, item in entry.items())
