"""Predictions as a file: `.csv` for every program, `.npz` for NumPy."""

import csv
import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy
import torch
from torch import Tensor

from runner.errors import ConfigError
from runner.files import Disk, write_durably
from runner.text import cell

_ROWS = 4096  # formatted at a time
_TAKEN = ("index", "class_name", "classes")
_SHORT = {"probabilities": "p"}


def write_predictions(path: Path, predictions: Mapping[str, Tensor], classes: Sequence[str] = ()) -> None:
    """Write the file durably: `index`, then each output; the ending chooses the format.

    In a `.csv` an output (samples,) is one column of its name, and (samples, k) is `name_0` to
    `name_<k-1>`, `p_0`... for probabilities; numbers are the shortest that read back the same. In a
    `.npz` each output is an array. If the data name their `classes`, `class_name` follows the output
    "class", probabilities are `p_<name>`, and a `.npz` has the names as `classes`.

    Raises:
        ConfigError: an output has the name of one of our columns, or the file cannot be written.
    """
    if taken := [name for name in _TAKEN if name in predictions]:
        raise ConfigError(f"the learner's output {taken[0]!r} has the name of one of our columns; give it another name")
    is_csv, count = path.suffix != ".npz", len(next(iter(predictions.values())))
    names = [cell(name) for name in classes] if is_csv else list(classes)
    arrays = {"index": numpy.arange(count), **dict(_named(predictions, names))}
    if names and not is_csv:
        arrays["classes"] = numpy.array(names)
    write = partial(_write_csv, classes=names) if is_csv else _write_npz
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, lambda file: write(file, arrays), Disk())
    except OSError as error:
        raise ConfigError(f"{path} could not be written ({error}); name another file with output=") from error


def _named(predictions: Mapping[str, Tensor], classes: Sequence[str]) -> Iterator[tuple[str, Any]]:
    for name, rows in predictions.items():
        yield name, _array(rows)
        if name == "class" and rows.dim() == 1 and not rows.is_floating_point() and classes:
            known = [*classes, ""]  # a model may have more outputs than the data have classes
            yield "class_name", numpy.array([known[min(number, len(classes))] for number in rows.tolist()])


def _array(rows: Tensor) -> Any:
    known = rows.float() if rows.dtype in (torch.bfloat16, torch.float16) else rows
    return known.contiguous().numpy()


def _write_npz(file: BinaryIO, arrays: Mapping[str, Any]) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                numpy.lib.format.write_array(member, array, allow_pickle=False)


def _write_csv(file: BinaryIO, arrays: Mapping[str, Any], classes: Sequence[str]) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow([column for name, array in arrays.items() for column in _columns(name, array.shape[1:], classes)])
    for start in range(0, len(arrays["index"]), _ROWS):
        pieces = [array[start : start + _ROWS] for array in arrays.values()]
        rows.writerows(numpy.hstack([piece.reshape(len(piece), -1).astype(str) for piece in pieces]).tolist())
    text.flush()
    text.detach()


def _columns(name: str, shape: tuple[int, ...], classes: Sequence[str]) -> Iterator[str]:
    if name == "probabilities" and shape == (len(classes),):
        yield from (f"p_{one}" for one in classes)
        return
    for place in numpy.ndindex(shape):
        yield "_".join([_SHORT.get(name, name) if shape else name, *map(str, place)])
