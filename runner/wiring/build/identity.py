"""The identity of the data, stored in each checkpoint: the classes in their order, the number of samples."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy

from runner.checkpoint.reader.tree import glimpse
from runner.data.loaders.keyed import size_of
from runner.data.splits import place_of, sets_of
from runner.data.streams.worker import is_stream
from runner.errors import CheckpointMismatch, CheckpointRefused, ConfigError
from runner.text import printable

IDENTITY = "data_identity"
_FACTS = ("in_channels", "image_size", "in_features", "num_classes")
_SPLITS = ("train", "val", "test")
_OURS = ("samples", "facts")
_SHOWN, _LONGEST = 10, 80  # names in a sentence, characters of one
_DEEPEST, _MOST = 8, 1_000_000  # levels, values of an identity


def facts_of(data: Any, known: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the facts that models are built with, such as `num_classes`, as plain values.

    Data without `train` have also the facts `known` of those that a model was trained on.
    """
    whole = known is None or getattr(data, "train", None) is not None
    former = {} if whole else {name: fact for name, fact in (known or {}).items() if name in _FACTS}
    named = former | {name: getattr(data, name) for name in _FACTS if hasattr(data, name)}
    plain = {name: _plain(value, f"data: {type(data).__name__}.{name}", [_MOST]) for name, value in named.items()}
    return {name: tuple(fact) if isinstance(named[name], tuple) else fact for name, fact in plain.items()}


def identity_of(data: Any, known: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the number of samples of each split, the facts, and the result of the data's own `identity()`.

    `known` is as in `facts_of`.

    Raises:
        ConfigError: `identity()` does not return plain values by name, or its `classes` are not names.
    """
    place = f"data: {type(data).__name__}.identity()"
    said = data.identity() if callable(getattr(data, "identity", None)) else {}
    if not isinstance(said, Mapping) or any(not isinstance(key, str) or key in _OURS for key in said):
        raise ConfigError(
            f"{place} returned {glimpse(said, _LONGEST)}; return a dictionary of plain values by name, other than "
            f"{' and '.join(_OURS)}, which the runner adds"
        )
    own = _plain({**said, "facts": facts_of(data, known)}, place, [_MOST])
    if not _are_names(own.get("classes", [])):
        raise ConfigError(
            f"{place} returned `classes` = {glimpse(own['classes'], _LONGEST)}; return a list of their names"
        )
    samples = {
        place_of(split, name) if name else split: size_of(part)
        for split in _SPLITS
        for name, part in sets_of(getattr(data, split, None)).items()
        if not is_stream(part)
    }
    return {"samples": samples, **own}


def compare_identities(stored: Any, own: Mapping[str, Any], path: Path, *, allowed: Sequence[str]) -> list[str]:
    """Return a line for each allowed difference between the file's data and today's.

    An older file without an identity never differs; if `allowed` names `data`, or a key of it, every difference is
    allowed.

    Raises:
        CheckpointMismatch: other classes, another order of them, or other facts; the message names both.
        CheckpointRefused: the file's identity is invalid.
    """
    if stored is None:
        return []
    check_identity(stored, path)
    others = _others(stored, own)
    if others and not any(key.split(".")[0] == "data" for key in allowed):
        raise CheckpointMismatch(
            f"{path} belongs to other data: {'; '.join(others)}; use the data that it was trained on, add "
            "resume_allow=[data] to use these anyway, or start a new run with warm_start.path"
        )
    return [*others, *_changes(stored, own), *_turned(stored, own)]


def check_identity(stored: Any, path: Path) -> None:
    """Raise CheckpointRefused if the identity in a file is invalid."""
    try:
        plain = _plain(stored, IDENTITY, [_MOST])
    except ConfigError:
        plain = None
    kinds: dict[str, type] = {"classes": list, "samples": dict, "facts": dict}
    if not isinstance(plain, dict) or any(not isinstance(plain.get(key, kind()), kind) for key, kind in kinds.items()):
        raise CheckpointRefused(f"{path} is refused: its `{IDENTITY}` is not the identity of a data set")
    counts = plain.get("samples", {}).values()
    if not _are_names(plain.get("classes", [])) or any(type(count) is not int for count in counts):
        raise CheckpointRefused(
            f"{path} is refused: its `{IDENTITY}` has classes that are not names, or counts that are not integers"
        )


def transferred(stored: Any, own: Mapping[str, Any], path: Path) -> list[str]:
    """Return a line on how a new run's data differ from those of its warm start's file, if they do."""
    if stored is None:
        return []
    check_identity(stored, path)
    others = _others(stored, own)
    return [f"warm start from other data: {'; '.join(others)}"] if others else []


def classes_of(identity: Mapping[str, Any]) -> list[str]:
    """Return the names of the classes in their order; empty if unknown."""
    return list(identity.get("classes", ()))


def _others(stored: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    """Return a short text for each difference that makes them other data."""
    ours, theirs = classes_of(own), classes_of(stored)
    if theirs and ours and theirs != ours:  # this also explains another number of classes
        shown = f"{len(theirs)} classes in the file: {_names(theirs)}; {len(ours)} in the data: {_names(ours)}"
        return [f"{shown}{_first_other(theirs, ours)}"]
    pairs = {key: (stored[key], own.get(key)) for key in stored if key not in ("samples", "facts", "listing")}
    facts = own.get("facts", {})
    pairs |= {key: (fact, facts.get(key)) for key, fact in stored.get("facts", {}).items()}
    return [
        f"{printable(key)[:_LONGEST]} is {glimpse(one, _LONGEST)} in the file "
        f"and {glimpse(other, _LONGEST)} in the data"
        for key, (one, other) in pairs.items()
        if repr(one) != repr(other)  # equal for NaN
    ]


def _changes(stored: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    samples, now = stored.get("samples", {}), own["samples"]
    counts = [
        f"{samples[split]} -> {now[split]} in {split}"
        for split in now
        if split in samples and samples[split] != now[split]
    ]
    if counts:
        return [f"the numbers of samples differ from the file: {', '.join(counts)}"]
    if stored.get("listing") != own.get("listing"):
        return ["the data have as many files as in the file's list, but some names differ"]
    return []


def _turned(stored: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    """Return a line for pictures in folders of a file from before their EXIF orientation was honoured."""
    if "listing" not in stored or "transform" in stored or "transform" not in own:
        return []
    return ["pictures with an EXIF orientation, if there are any, are turned upright now, unlike in the file's run"]


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(printable(name)[:_LONGEST] for name in names[:_SHOWN])
    return f"{shown}, ..." if len(names) > _SHOWN else shown


def _first_other(theirs: Sequence[str], ours: Sequence[str]) -> str:
    """Return the first name that differs, if the lists are too long to show it."""
    for number, (one, other) in enumerate(zip(theirs, ours, strict=False)):
        if one != other:
            shown = f" (number {number} is {printable(one)[:_LONGEST]} there and {printable(other)[:_LONGEST]} here)"
            return shown if number >= _SHOWN else ""
    return ""


def _are_names(names: Any) -> bool:
    return isinstance(names, list) and all(isinstance(name, str) for name in names)


def _plain(value: Any, place: str, left: list[int], level: int = 0) -> Any:
    """Return a value as a checkpoint holds it: without NumPy scalars, tuples, or mappings other than dictionaries."""
    left[0] -= 1
    if isinstance(value, numpy.generic):
        value = value.item()
    if value is None or type(value) in (bool, float, str) or (type(value) is int and abs(value) < 2**63):
        return value
    if left[0] > 0 and level < _DEEPEST:
        if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
            return {str(key): _plain(item, f"{place}[{key!r}]", left, level + 1) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [_plain(item, place, left, level + 1) for item in value]
    raise ConfigError(
        f"{place} is {glimpse(value, _LONGEST)}, a {type(value).__name__}; give plain values: strings, "
        "numbers, lists and dictionaries of them"
    )
