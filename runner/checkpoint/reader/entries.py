"""Check that a dictionary is a general checkpoint of this program, without torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.errors import CheckpointRefused

FORMAT = "runner.general_checkpoint"
VERSION = 2
SUFFIX = "_state_dict"
MADE_OF = "averaged_from"
"""The entry of a mean of checkpoints that says which they are."""

_REQUIRED = {
    "epoch": int,
    "global_step": int,
    "loss": float,
    "metrics": dict,
    "config": str,
}
_OPTIONAL = {"data_identity": dict, "environment": dict, "created": str}


def states(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return the states among entries, by part name."""
    return {part_of(name): state for name, state in entries.items() if isinstance(name, str) and name.endswith(SUFFIX)}


def part_of(name: str) -> str:
    """Return the part whose state has this entry name."""
    return name.removesuffix(SUFFIX)


def version_of(path: Path, entries: Any) -> int:
    """Return the format version of entries.

    Raises:
        CheckpointRefused: another program wrote them, or this program does not know the version.
    """
    if not isinstance(entries, dict) or entries.get("format") != FORMAT:
        raise CheckpointRefused(
            f"{path} is not a checkpoint of this program (its `format` is not {FORMAT!r}) and has no config; "
            f"to start a run with its weights, use warm_start.path={path}"
        )
    version = entries.get("version")
    if type(version) is not int or version < 1:
        raise CheckpointRefused(f"{path} has the invalid version {str(version)[:50]!r}")
    if version > VERSION:
        raise CheckpointRefused(
            f"{path} was written by a newer version of this program (format {version}, this one reads "
            f"up to {VERSION}); update this program"
        )
    return version


def check_resumable(path: Path, entries: Mapping[str, Any]) -> None:
    """Check that entries are of a general checkpoint from which training can continue.

    Raises:
        CheckpointRefused: as `version_of`; also for a mean of checkpoints, which has no optimizer.
    """
    version_of(path, entries)
    if MADE_OF in entries:
        raise CheckpointRefused(
            f"{path} is a mean of checkpoints and has no optimizer, so nothing can be resumed; to start a run with its "
            f"weights, use warm_start.path={path}"
        )


def check_if_ours(path: Path, entries: Mapping[str, Any]) -> bool:
    """Return whether entries are of a general checkpoint of this program, and check them if so.

    Raises:
        CheckpointRefused: the version is unknown, or an entry is invalid.
    """
    if entries.get("format") != FORMAT:
        return False
    version_of(path, entries)
    check_schema(path, entries)
    return True


def check_schema(path: Path, entries: Mapping[str, Any]) -> None:
    """Check that entries of the present version are complete and valid.

    Raises:
        CheckpointRefused: names what is missing or wrong.
    """
    for name, kind in {**_REQUIRED, **{key: kind for key, kind in _OPTIONAL.items() if key in entries}}.items():
        if type(entries.get(name)) is not kind:
            found = f"is {type(entries[name]).__name__}" if name in entries else "is missing"
            raise CheckpointRefused(f"{path} is not a valid checkpoint: `{name}` {found}, wanted {kind.__name__}")
    for name, value in entries.items():
        if type(name) is not str or (name.endswith(SUFFIX) and not isinstance(value, Mapping)):
            raise CheckpointRefused(
                f"{path} is not a valid checkpoint: its entry {str(name)[:50]!r} is not a state_dict"
            )
    if entries["epoch"] < 0 or not 0 <= entries["global_step"] < 2**53:
        raise CheckpointRefused(
            f"{path} is not a valid checkpoint: epoch {entries['epoch']}, global_step {entries['global_step']}"
        )
    for name, value in entries["metrics"].items():
        if type(name) is not str or type(value) not in (int, float) or (type(value) is int and abs(value) >= 2**63):
            raise CheckpointRefused(f"{path} is not a valid checkpoint: one of its metrics is not a named number")
