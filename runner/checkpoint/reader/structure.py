"""What a pickled structure says, without anything that it names being imported or called.

Only what `torch.save` writes of tensors and plain values is read: its opcodes, its calls. Work and
memory are bounded by the length of the pickle and by `most_steps`, whatever it holds.
"""

import gc
import pickle
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any, ClassVar

from runner.checkpoint.reader.forms import is_key, made, named, storage
from runner.checkpoint.reader.inert import Device, Dtype, Size, Storage, TensorFacts
from runner.checkpoint.reader.tree import MOST_LEVELS, leaves
from runner.text import printable

MOST_ODD_KEYS = 5_000  # of kinds whose hashes a file can make collide
_MOST_STEPS, _STEPS_OF_TENSOR = 2_000_000, 40  # some two seconds; a tensor takes about 25
_SCALARS = (type(None), bool, int, float, str)
_LEAVES = (*_SCALARS, complex, bytes, bytearray, set, Dtype, Device, Size)
_CONTAINERS = (dict, OrderedDict, Counter, list, tuple)

# The one written in Python: its memo is a dictionary, whereas the C one allocates what the file asks for.
_Unpickler: Any = pickle._Unpickler
_Stop: Any = vars(pickle)["_Stop"]


@dataclass(frozen=True)
class Structure:
    """What a pickle holds."""

    content: Any
    storages: Mapping[str, Storage]
    """By the name of the member that has the bytes."""
    odd: list[TensorFacts]
    """The sparse and quantized tensors, whose values have to fit each other too."""
    byte_order: str


class Unreasonable(ValueError):
    """A structure that no checkpoint has: too large, or written in another way than torch.save's own."""


class Foreign(ValueError):
    """A structure with something that is neither a tensor nor plain: the name of it."""


def most_steps(tensors: int) -> int:
    """Return how many steps of reading a structure with so many tensors may take."""
    return _MOST_STEPS + _STEPS_OF_TENSOR * tensors


def read_structure(pickled: bytes, tensors: int, byte_order: str = "little") -> Structure:
    """Return the structure of a pickle whose file has members for so many tensors.

    Raises:
        Unreasonable: it takes unreasonably long, is nested too deeply, or has tensors larger than their storages.
        Foreign: it names something that is neither a tensor nor plain.
        Exception: whatever the pickle module raises of a malformed pickle.
    """
    reader = _Reader(BytesIO(pickled), len(pickled), most_steps(tensors))
    with uncollected():
        content = reader.load()
        _check_tree(content, iter(range(min(2 * len(pickled) + 1000, most_steps(tensors)))))
    if not reader.fits:
        raise Unreasonable(f"{_misfit(content)} claims more elements than the file stores")
    return Structure(content, reader.storages, reader.odd, byte_order)


def _misfit(content: Any) -> str:
    names = (name for name, item in leaves(content) if isinstance(item, TensorFacts) and not item.fits)
    return printable(".".join(filter(None, ("the file", next(names, "")))).replace(".[", "["))


@contextmanager
def uncollected() -> Iterator[None]:
    """Nothing is let go of meanwhile, so that looking for garbage among millions of new objects finds none."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def odd_keys(value: Any) -> int:
    """Return how many keys of dictionaries inside something finite a reader would count as odd."""
    if isinstance(value, Mapping):
        here = sum(_is_odd(key, index) for index, key in enumerate(value))
        return here + sum(map(odd_keys, value.values()))
    if type(value) is set:
        return sum(_is_odd(key, index) for index, key in enumerate(value))
    return sum(map(odd_keys, value)) if isinstance(value, (list, tuple)) else 0


def _is_odd(key: Any, others: int) -> bool:
    """Numbers that count what is there cannot collide, nor can texts, whose hashes nobody knows beforehand."""
    if type(key) is int:
        return not 0 <= key <= 2 * others + 64
    return isinstance(key, (float, tuple))


def _check_tree(content: Any, steps: Iterator[int]) -> None:
    """Return if a walk through something ends, and meets nothing but tensors and plain values."""
    end: Any = object()
    waiting: list[Iterator[Any]] = [iter((content,))]
    for _ in steps:
        while waiting and (entry := next(waiting[-1], end)) is end:
            waiting.pop()
        if not waiting:
            return
        kind = type(entry)
        if kind in _CONTAINERS:
            if len(waiting) > MOST_LEVELS:
                raise Unreasonable("it is nested too deeply")
            waiting.append(iter(entry.values() if issubclass(kind, dict) else entry))
        elif kind not in _LEAVES and not issubclass(kind, TensorFacts):
            raise pickle.UnpicklingError("it holds the name of something and not the thing")
    raise Unreasonable("it holds more values than any checkpoint, or the same ones again and again")


class _Reader(_Unpickler):  # type: ignore[misc]
    def __init__(self, file: BytesIO, length: int, most: int) -> None:
        super().__init__(file)
        self.read, self.readline = file.read, file.readline
        self.storages: dict[str, Storage] = {}
        self.odd: list[TensorFacts] = []
        self.fits = True
        self._most, self._length = most, length
        self._copied = self._encoded = self._odd_keys = 0

    def find_class(self, module: str, name: str) -> Any:
        """Return a stand-in."""
        full = f"{'builtins' if module == '__builtin__' else module}.{name}"
        found = named(full)
        if found is None:
            raise Foreign(full[:200])
        return found

    def persistent_load(self, pid: Any) -> Storage:
        """Return the storage that a tensor refers to."""
        found = storage(pid)
        known = self.storages.setdefault(found.key, found)
        if (known.dtype, known.size) != (found.dtype, found.size):
            raise pickle.UnpicklingError("it says of one storage different things")
        return known

    def load(self) -> Any:
        """Do as the parent does, and count."""
        self.metastack: list[Any] = []
        self.stack: list[Any] = []
        self.append = self.stack.append
        self.proto = 0
        read, dispatch = self.read, self.dispatch
        try:
            for _ in range(self._most):
                dispatch[read(1)[0]](self)
        except _Stop as stop:
            return stop.value
        except IndexError as error:
            raise EOFError("its structure ends early") from error
        except KeyError as error:
            raise Unreasonable(f"its structure has the opcode {error}, which no state_dict of torch.save has") from None
        raise Unreasonable(f"its structure takes more than {self._most} steps to read")

    def _check_key(self, key: Any, others: int) -> None:
        if not is_key(key):
            raise pickle.UnpicklingError("its structure has a key that is no plain value")
        self._odd_keys += _is_odd(key, others)
        if self._odd_keys > MOST_ODD_KEYS:
            raise Unreasonable(f"its structure has more than {MOST_ODD_KEYS} keys that are no names")

    def _set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) not in (dict, OrderedDict, Counter):
            raise pickle.UnpicklingError("its structure has items of what is no dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            self._check_key(key, len(target))
            target[key] = value

    def _one_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set_items([key, value])

    def _many_items(self) -> None:
        self._set_items(self.pop_mark())

    def _extend(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise pickle.UnpicklingError("its structure has elements of what is no list")
        self.stack[-1].extend(items)

    def _one_element(self) -> None:
        self._extend([self.stack.pop()])

    def _many_elements(self) -> None:
        self._extend(self.pop_mark())

    def _call(self) -> None:
        arguments = self.stack.pop()
        for argument in arguments if type(arguments) is tuple else ():
            self._copy(argument)
        result = made(self.stack[-1], arguments)
        if isinstance(result, TensorFacts):
            self.fits = self.fits and result.fits
            if type(result) is not TensorFacts:
                self.odd.append(result)
        self.stack[-1] = result

    def _copy(self, argument: Any) -> None:
        """Count what a call copies: in a pickle that somebody wrote, every element stands once for each copy."""
        if type(argument) in (str, bytes):
            self._encoded += len(argument)
        elif type(argument) in (list, dict, tuple, Size):
            self._copied += len(argument)
            if type(argument) is list:
                for index, key in enumerate(argument):
                    self._check_key(key, index)
        if self._encoded > 2 * self._length or self._copied > self._most:
            raise Unreasonable("its structure holds the same values again and again")

    def _attributes(self) -> None:
        """Of an ordered dictionary's own attributes, those that a module's state_dict has are kept."""
        state, target = self.stack.pop(), self.stack[-1]
        if type(target) is not OrderedDict or type(state) is not dict or not state.keys() <= {"_metadata"}:
            raise pickle.UnpicklingError("its structure gives attributes to what has none")
        if not is_metadata(state.get("_metadata", {})):
            raise pickle.UnpicklingError("its structure has odd attributes")
        target.__dict__.update(state)

    _KEPT = (
        pickle.PROTO, pickle.STOP, pickle.MARK, pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.BININT,
        pickle.BININT1, pickle.BININT2, pickle.LONG1, pickle.BINFLOAT, pickle.BINUNICODE, pickle.EMPTY_LIST,
        pickle.EMPTY_DICT, pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3,
        pickle.BINGET, pickle.LONG_BINGET, pickle.BINPUT, pickle.LONG_BINPUT, pickle.GLOBAL, pickle.BINPERSID,
    )  # fmt: skip
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        **{opcode[0]: _Unpickler.dispatch[opcode[0]] for opcode in _KEPT},
        pickle.APPEND[0]: _one_element,
        pickle.APPENDS[0]: _many_elements,
        pickle.SETITEM[0]: _one_item,
        pickle.SETITEMS[0]: _many_items,
        pickle.REDUCE[0]: _call,
        pickle.BUILD[0]: _attributes,
    }


def is_metadata(value: Any) -> bool:
    """Return whether something is what a module's state_dict says of versions: by module, plain values by name."""
    if type(value) not in (dict, OrderedDict):
        return False
    inner = (entry for name, entry in value.items() if type(name) is str and type(entry) in (dict, OrderedDict))
    return all(type(name) is str and type(item) in _SCALARS for entry in inner for name, item in entry.items())
