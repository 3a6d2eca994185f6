"""New samples in a `.npz` or a `.csv`: the inputs and, where the file has them, the true targets."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor

from runner.data.inputs.npz import Npz
from runner.data.inputs.tables import Table, read_table
from runner.data.inputs.transform import Transform
from runner.errors import DataMissing

ENDINGS = (".npz", ".csv")
_INPUTS, _TARGETS, _CLASSES = "inputs", "targets", "classes"


@dataclass(frozen=True)
class Rows:
    """Inputs (samples, ...), as in training, and the targets (samples, ...), None if the file has none."""

    inputs: Tensor
    targets: Tensor | None = None


def read_rows(path: Path, transform: Transform, classes: Sequence[str]) -> Rows:
    """Return the samples of a file; targets may be numbers, or names out of `classes`.

    Raises:
        DataMissing: it is missing or damaged, or has other inputs than the training.
    """
    if path.suffix.lower() == ".csv":
        return _of_table(read_table(path), transform, classes)
    archive = Npz(path, "source")
    name = _inputs_of(archive)
    inputs = transform.inputs(_numbers(archive[name], f"{path}: {name}"), str(path))
    if _TARGETS not in archive.names or name == _TARGETS:
        return Rows(inputs)
    own = archive[_CLASSES].tolist() if _CLASSES in archive.names else None
    if own is not None and classes and own != list(classes):
        raise DataMissing(
            f"{path} numbers the classes {_shown(own)}, and the checkpoint {_shown(classes)}; give its targets by "
            "their names"
        )
    return Rows(inputs, _of_one_length(_targets(archive[_TARGETS], classes, path), len(inputs), path))


def _inputs_of(archive: Npz) -> str:
    """Return the name of the array of inputs: `inputs`, or the only one."""
    if _INPUTS in archive.names:
        return _INPUTS
    if len(archive.names) == 1:
        return archive.names[0]
    there = ", ".join(name[:50] for name in archive.names[:10]) or "nothing"
    raise DataMissing(f"{archive.path} has no array {_INPUTS} but {there}; call the one to predict for {_INPUTS}")


def _of_table(table: Table, transform: Transform, classes: Sequence[str]) -> Rows:
    width = transform.size
    if table.width != width:
        hint = "" if table.targets is not None else "; the true labels, if any, are a column called target in a header"
        raise DataMissing(
            f"{table.path} has inputs of shape ({len(table.inputs)}, {table.width}), and the model takes "
            f"(samples, {width}): give a column for each{hint}"
        )
    numbers = torch.from_numpy(table.inputs).reshape(-1, *transform.shape)
    if torch.isfinite(numbers).all() and (numbers == numbers.round()).all():
        numbers = numbers.long()
    inputs = transform.inputs(numbers, str(table.path))
    if table.targets is None:
        return Rows(inputs)
    return Rows(inputs, _targets(_column(table.targets, classes), classes, table.path))


def _column(cells: Sequence[str], classes: Sequence[str]) -> Any:
    """Return names of classes, else whole numbers, other numbers or texts, as an array."""
    if not set(cells) <= set(classes):
        for kind in (int, float):
            with suppress(ValueError):
                return numpy.array([kind(cell) for cell in cells])
    return numpy.array(cells)


def _numbers(array: Any, place: str) -> Tensor:
    if array.dtype.kind not in "biuf":
        raise DataMissing(f"{place} holds {array.dtype}, not real numbers; give numbers")
    if array.dtype.kind == "f":
        return torch.from_numpy(array.astype(numpy.float64))  # torch has no longer ones
    return torch.from_numpy(array if array.dtype == numpy.uint8 else array.astype(numpy.int64))


def _targets(found: Any, classes: Sequence[str], path: Path) -> Tensor:
    """Return targets as int64 or float32, from numbers or names of classes."""
    if found.dtype.kind != "U":
        numbers = _numbers(found, f"{path}: {_TARGETS}")
        return numbers.float() if numbers.is_floating_point() else numbers.long()
    known = {name: number for number, name in enumerate(classes)}
    if strange := [name for name in found.reshape(-1).tolist() if name not in known]:
        raise DataMissing(
            f"{path} has the target {strange[0][:50]!r}, which is none of the checkpoint's classes, "
            f"{_shown(classes) or 'which have no names'}; give its names, or numbers"
        )
    return torch.tensor([known[name] for name in found.reshape(-1).tolist()]).reshape(found.shape)


def _of_one_length(targets: Tensor, count: int, path: Path) -> Tensor:
    if targets.dim() < 1 or len(targets) != count:
        raise DataMissing(f"{path} has {count} inputs, and targets of shape {tuple(targets.shape)}; give one for each")
    return targets


def _shown(names: Sequence[Any]) -> str:
    return ", ".join(str(name)[:50] for name in names[:10])
