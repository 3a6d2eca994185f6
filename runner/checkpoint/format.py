"""The general checkpoint of PyTorch's tutorial, written and read: the only caller of torch.save and torch.load.

A file is one flat dictionary: `epoch`, `global_step`, `loss`, one `<part>_state_dict` per part, and a description of
the run. https://docs.pytorch.org/tutorials/beginner/saving_loading_models.html
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import nn

from runner.checkpoint.archive.verify import opened
from runner.checkpoint.plain import plain_copy
from runner.checkpoint.reader.building import build, build_outline
from runner.checkpoint.reader.entries import FORMAT, VERSION, check_schema, states, version_of
from runner.checkpoint.reader.entries import SUFFIX as SUFFIX
from runner.checkpoint.reader.header import structure_of
from runner.checkpoint.sharded.opening import opened_checkpoint
from runner.errors import CheckpointMismatch, CheckpointRefused
from runner.stateful import Stateful
from runner.text import error_line, one_line


def _without_overrides(entries: dict[str, Any]) -> dict[str, Any]:
    """Drop `overrides`, which version 2 does not have; readers resolve the interpolations of a version 1 config."""
    return {name: value for name, value in entries.items() if name != "overrides"}


# By version: turns entries of that version into those of the next.
MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _without_overrides}


def compose_entries(parts: Mapping[str, Stateful], entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return the dictionary for a file: `entries`, then `<name>_state_dict` for each part.

    Raises:
        Unsavable: a state holds something other than tensors and plain values.
    """
    states = {f"{name}{SUFFIX}": part.state_dict() for name, part in parts.items()}
    whole = {**entries, **states, "format": FORMAT, "version": VERSION}
    return {name: plain_copy(value, name) for name, value in whole.items()}


def write_plain(file: BinaryIO, content: Mapping[str, Any]) -> None:
    """Write plain containers and tensors, such as a state_dict, as `torch.save` does."""
    torch.save(plain_copy(dict(content), "the state_dict"), file)


def write_module(file: BinaryIO, module: nn.Module | None) -> None:
    """Write a whole module as a pickle, to be opened only by those who trust its code."""
    torch.save(module, file)


def read_module(path: Path) -> nn.Module:
    """Return a pickled module, on the CPU. This RUNS the file's code: call it only where the user asked for that.

    Raises:
        CheckpointMissing, CheckpointDamaged, CheckpointRefused: see `archive.verify.opened`; also refused if the
            file cannot be unpickled here or holds no module.
    """
    with opened(path) as archive:
        archive.check()
        archive.file.seek(0)
        try:
            content = torch.load(archive.file, map_location="cpu", weights_only=False)
        except Exception as error:
            raise CheckpointRefused(f"{path} could not be unpickled: {error_line(error, 200)}") from error
    if not isinstance(content, nn.Module):
        raise CheckpointRefused(f"{path} holds a {type(content).__name__}, not a whole nn.Module")
    return content


def read_back(path: Path) -> Any:
    """Return what plain PyTorch reads from a file that this program has just written."""
    return torch.load(path, map_location="cpu", weights_only=True)


def read_entries(path: Path) -> dict[str, Any]:
    """Return the entries of a general checkpoint of this program, every tensor on the CPU, every byte checked.

    Raises:
        CheckpointMissing, CheckpointDamaged, CheckpointRefused: see `read_plain`; also refused if another program
            or a newer version wrote the file.
    """
    return _current_version(path, read_plain(path))


def read_plain(path: Path) -> Any:
    """Return the tensors and plain values that `torch.save` wrote, every tensor on the CPU, every byte checked.

    Tensors are built from the checked bytes, in their own memory, so that a change of the file cannot affect them.
    Refuses exactly what `header.read_header` refuses.

    Raises:
        CheckpointMissing, CheckpointDamaged, CheckpointRefused: see `archive.verify.opened` and `header.structure_of`.
    """
    with opened_checkpoint(path) as archive:
        return build(archive, structure_of(archive))


def read_outline(path: Path) -> dict[str, Any]:
    """Return the entries of a general checkpoint, with `Absent` for each tensor in shards; every byte is checked.

    Raises:
        CheckpointMissing, CheckpointDamaged, CheckpointRefused: see `read_entries`.
    """
    with opened_checkpoint(path) as archive:
        return _current_version(path, build_outline(archive, structure_of(archive)))


def _current_version(path: Path, entries: Any) -> dict[str, Any]:
    version = version_of(path, entries)
    while version < VERSION:
        entries = {**MIGRATIONS[version](entries), "version": version + 1}
        version += 1
    check_schema(path, entries)
    return dict(entries)


def restore(parts: Mapping[str, Stateful], entries: Mapping[str, Any], path: Path) -> None:
    """Restore every part strictly: no state may be missing, left over, or of another shape.

    Raises:
        CheckpointMismatch: names the part, what was wanted and what was found.
    """
    stored = states(entries)
    if missing := sorted(parts.keys() - stored.keys()):
        raise CheckpointMismatch(f"{path} lacks the state of {', '.join(missing)}; it has {', '.join(sorted(stored))}")
    if unexpected := sorted(stored.keys() - parts.keys()):
        raise CheckpointMismatch(
            f"{path} has the state of {', '.join(unexpected)}, which this config does not use; "
            f"it needs {', '.join(sorted(parts))}"
        )
    for name, part in parts.items():
        restore_part(name, part, stored[name], path)


def restore_part(name: str, part: Stateful, state: Any, path: Path) -> None:
    """Restore one part, or raise `CheckpointMismatch` with the part's own reason in one line."""
    try:
        part.load_state_dict(state)
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        reason = one_line(error, 400)
        raise CheckpointMismatch(
            f"{path} does not fit: its {name}{SUFFIX} belongs to another {name}: {reason}"
        ) from error
