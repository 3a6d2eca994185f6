"""Refuse to write a file that exceeds the reader's bounds."""

from collections.abc import Mapping
from typing import Any

from runner.checkpoint.archive.verify import LARGEST_DIRECTORY
from runner.checkpoint.reader.header import LARGEST
from runner.checkpoint.reader.pickle_machine import MOST_ODD_KEYS, Unreasonable, is_odd
from runner.checkpoint.reader.structure import most_steps, read_structure
from runner.errors import Unsavable

_WAY_OUT = "let the large state_dict return its numbers or bytes as a tensor"


def check_structure(content: Mapping[str, Any], pickled: bytes, tensors: int) -> None:
    """Raise `Unsavable` if a reader would refuse a structure, whose bytes are `pickled`.

    A reading step takes at least one byte, an odd key three, so that an ordinary structure needs no walk.
    """
    if len(pickled) > LARGEST:
        raise Unsavable(
            f"the state has {len(pickled) >> 20} MiB beside its tensors, and a file with more than {LARGEST >> 20} "
            f"cannot be read again; {_WAY_OUT}"
        )
    if len(pickled) > 3 * MOST_ODD_KEYS and _odd_keys(content) > MOST_ODD_KEYS:
        raise Unsavable(
            f"the state has more than {MOST_ODD_KEYS} keys that are tuples or numbers, so the file cannot be "
            f"read again; {_WAY_OUT}"
        )
    if len(pickled) > most_steps(tensors):
        try:
            read_structure(pickled, tensors)
        except Unreasonable as error:
            raise Unsavable(f"the state cannot be read again ({error}); {_WAY_OUT}") from error


def check_directory(size: int) -> None:
    """Raise `Unsavable` if an archive's directory is too large for a reader."""
    if size > LARGEST_DIRECTORY:
        raise Unsavable("the state has more tensors than can be read again; let its state_dict return fewer")


def _odd_keys(value: Any) -> int:
    """Return how many keys of nested dictionaries a reader counts as odd."""
    # `leaves` would turn the keys into names.
    if isinstance(value, Mapping):
        here = sum(is_odd(key, index) for index, key in enumerate(value))
        return here + sum(map(_odd_keys, value.values()))
    if type(value) is set:
        return sum(is_odd(key, index) for index, key in enumerate(value))
    return sum(map(_odd_keys, value)) if isinstance(value, (list, tuple)) else 0
