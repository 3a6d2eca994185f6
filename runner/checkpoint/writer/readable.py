"""What is written can be read again: the bounds that a reader sets are looked at before a file counts."""

from collections.abc import Mapping
from typing import Any

from runner.checkpoint.archive.verify import LARGEST_DIRECTORY
from runner.checkpoint.reader.header import LARGEST
from runner.checkpoint.reader.machine import MOST_ODD_KEYS, Unreasonable, is_odd
from runner.checkpoint.reader.structure import most_steps, read_structure
from runner.errors import Unsavable

_WAY_OUT = "let the state_dict that is so large return its numbers or bytes as a tensor"


def check_structure(content: Mapping[str, Any], pickled: bytes, tensors: int) -> None:
    """Raise `Unsavable` if a structure, which these bytes are, is one that no reader would take.

    A step of reading takes a byte at least, and an odd key three, so that an ordinary structure is not walked through.
    """
    if len(pickled) > LARGEST:
        raise Unsavable(
            f"the state has {len(pickled) >> 20} MiB beside its tensors, and a file with more than {LARGEST >> 20} "
            f"could not be read again; {_WAY_OUT}"
        )
    if len(pickled) > 3 * MOST_ODD_KEYS and _odd_keys(content) > MOST_ODD_KEYS:
        raise Unsavable(
            f"the state has more than {MOST_ODD_KEYS} keys that are tuples or numbers, and a file with so many could "
            f"not be read again; {_WAY_OUT}"
        )
    if len(pickled) > most_steps(tensors):
        try:
            read_structure(pickled, tensors)
        except Unreasonable as error:
            raise Unsavable(f"the state could not be read again ({error}); {_WAY_OUT}") from error


def check_directory(size: int) -> None:
    """Raise `Unsavable` if an archive's directory is so large that no reader would take it."""
    if size > LARGEST_DIRECTORY:
        raise Unsavable("the state has more tensors than could be read again; let its state_dict return fewer")


def _odd_keys(value: Any) -> int:
    """Return how many keys of dictionaries inside something finite a reader would count as odd."""
    # Of the keys themselves, which `leaves` makes names of.
    if isinstance(value, Mapping):
        here = sum(is_odd(key, index) for index, key in enumerate(value))
        return here + sum(map(_odd_keys, value.values()))
    if type(value) is set:
        return sum(is_odd(key, index) for index, key in enumerate(value))
    return sum(map(_odd_keys, value)) if isinstance(value, (list, tuple)) else 0
