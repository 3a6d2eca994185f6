"""Where the divided tensors stand in the entries of a sharded checkpoint: its entry `shards`.

The general file has None in place of each; `shards` gives, by the tensor's name in the shards, the keys that lead to
the place, the dtype and the shape.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from runner.checkpoint.inert import TensorFacts, dense_facts
from runner.errors import Unsavable
from runner.stateful import MAPPINGS, mapped

ENTRY = "shards"
_OF_TUPLE = None  # in place of a key: what is in a tuple cannot be put back
PREFIX = "shard:"
"""Before the name of a divided tensor, where a storage has a key."""


def outlined(states: Any, divided: Collection[int]) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Return states with None for each tensor of the `divided` ids, the entry `shards`, and those tensors by name.

    Raises:
        Unsavable: a divided tensor is in a tuple, or under a key that is neither a text nor a number.
    """
    table: dict[str, Any] = {}
    tensors: dict[str, Any] = {}

    def outline(value: Any, at: tuple[Any, ...]) -> Any:
        if id(value) in divided:
            _check_place(at)
            name = _unused(".".join(map(str, at)), tensors)
            table[name] = {"at": list(at), "dtype": str(value.dtype), "shape": list(value.shape)}
            tensors[name] = value
            return None
        if type(value) in MAPPINGS:
            return mapped(value, lambda key, item: outline(item, (*at, key)))
        if type(value) is list:
            return [outline(item, (*at, index)) for index, item in enumerate(value)]
        return tuple(outline(item, (*at, _OF_TUPLE)) for item in value) if type(value) is tuple else value

    return outline(states, ()), table, tensors


def _check_place(at: tuple[Any, ...]) -> None:
    if any(type(key) not in (str, int) for key in at):
        raise Unsavable(
            f"{'.'.join(map(str, at))} is a divided tensor in a tuple, or under a key that is neither a text nor a "
            "number, where a sharded checkpoint cannot put it back; let its state_dict return a list or a dict"
        )


def _unused(name: str, taken: Mapping[str, Any]) -> str:
    while name in taken:
        name += "'"
    return name


def put_back(content: dict[str, Any]) -> Iterator[tuple[str, TensorFacts]]:
    """Put the facts of the divided tensors into their places, and yield them by name; removes the entry `shards`.

    Raises:
        ValueError: the entry is malformed.
    """
    table = content.pop(ENTRY, None)
    if not isinstance(table, dict):
        raise ValueError("it has no table of shards")
    for name, entry in table.items():
        if type(name) is not str or not isinstance(entry, dict) or entry.keys() != {"at", "dtype", "shape"}:
            raise ValueError(f"its table of shards is malformed at {str(name)[:60]!r}")
        facts = dense_facts(f"{PREFIX}{name}", str(entry["dtype"]), entry["shape"])
        _put(content, entry["at"], facts)
        yield name, facts


def _put(content: Any, at: Any, facts: TensorFacts) -> None:
    if not isinstance(at, list) or not 0 < len(at) <= 64:
        raise ValueError("its table of shards leads nowhere")
    for key in at[:-1]:
        content = _below(content, key)
    if _below(content, at[-1]) is not None:
        raise ValueError("its table of shards has two tensors for one place")
    content[at[-1]] = facts


def _below(content: Any, key: Any) -> Any:
    inside = isinstance(content, dict) and type(key) in (str, int) and key in content
    if not inside and not (isinstance(content, list) and type(key) is int and 0 <= key < len(content)):
        raise ValueError("its table of shards leads to a place that is not there")
    return content[key]
