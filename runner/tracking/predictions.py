"""Predictions as a file: `.csv` for every program, `.npz` for NumPy, `.jsonl` for entries of any form."""

import csv
import io
import json
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
from runner.tracking.ragged import arrays_of, column_of, listed

_ROWS = 4096  # formatted at a time
_TAKEN = ("index", "class_name", "classes")
_SHORT = {"probabilities": "p"}
_FIRST = ("class_name", "probability")  # after what describes the sample


def write_predictions(
    path: Path, predictions: Mapping[str, Any], classes: Sequence[str] = (), beside: Mapping[str, Any] | None = None
) -> None:
    """Write the file durably: `index`, then each output; the ending chooses the format.

    In a `.csv` an output (samples,) is one column of its name, and (samples, k) is `name_0` to
    `name_<k-1>`, `p_0`... for probabilities; numbers are the shortest that read back the same. In a
    `.npz` each output is an array. If the data name their `classes`, `class_name` follows the output
    "class", probabilities are `p_<name>`, and a `.npz` has the names as `classes`. A `.jsonl` has an object per sample.

    An output may be a list with an entry per sample: in a `.npz` as `arrays_of` says, in a `.csv` if each is a string
    or a number.

    `beside` is what stands beside the predictions of new data, possibly nothing. It comes first: `file` in place of
    `index`, or the true `target` with its `target_name`; then `class_name` and `probability`.

    Raises:
        ConfigError: an output has the name of one of our columns, or the file cannot hold it or be written.
    """
    write = partial(_WRITERS[path.suffix], **_prepared(path, predictions, classes, beside))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, write, Disk())
    except OSError as error:
        raise ConfigError(f"{path} could not be written ({error}); name another file with output=") from error


def rows_of(predictions: Mapping[str, Any], classes: Sequence[str], beside: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a dictionary per sample, as a line of a `.jsonl` has; raises as `write_predictions` does."""
    prepared = _prepared(Path("rows.jsonl"), predictions, classes, beside)
    return list(_objects(prepared["arrays"]))


def fits_table(predictions: Mapping[str, Any]) -> bool:
    """Return whether a `.csv` can hold the predictions."""
    return all(column_of(rows) is not None for rows in predictions.values() if isinstance(rows, list))


def _prepared(
    path: Path, predictions: Mapping[str, Any], classes: Sequence[str], beside: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the arguments of a writer; ConfigError for an output that its file cannot hold."""
    own = beside or {}
    if taken := [name for name in (*_TAKEN, *own, *map("{}_name".format, own)) if name in predictions]:
        raise ConfigError(f"the learner's output {taken[0]!r} has the name of one of our columns; give it another name")
    is_csv, count = path.suffix == ".csv", len(next(iter(predictions.values())))
    names = [cell(name) for name in classes] if is_csv else list(classes)
    leading = list(_leading(path, own, names, count))
    found = [*leading, *_named(path, predictions, names)]
    if beside is not None and "class_name" in dict(found):
        first = [*dict(leading), *_FIRST]
        found.sort(key=lambda pair: first.index(pair[0]) if pair[0] in first else len(first))
    if names and path.suffix == ".npz":
        found.append(("classes", numpy.array(names)))
    arrays = dict(found)
    if len(arrays) < len(found):
        raise ConfigError(f"{path} would have two arrays of one name: {', '.join(name for name, _ in found)}")
    return {"arrays": arrays, "classes": names}


def _leading(path: Path, beside: Mapping[str, Any], classes: Sequence[str], count: int) -> Iterator[tuple[str, Any]]:
    """Yield what describes each sample."""
    if "file" not in beside:
        yield "index", numpy.arange(count)
    for name, rows in beside.items():
        if isinstance(rows, list):
            yield from _of_entries(path, name, rows)
            continue
        yield name, _array(rows)
        if classes and _are_classes(rows):
            yield f"{name}_name", _names_of(rows, classes)


def _named(path: Path, predictions: Mapping[str, Any], classes: Sequence[str]) -> Iterator[tuple[str, Any]]:
    for name, rows in predictions.items():
        if isinstance(rows, list):
            yield from _of_entries(path, name, rows)
            continue
        yield name, _array(rows)
        if name == "class" and classes and _are_classes(rows):
            yield "class_name", _names_of(rows, classes)


def _are_classes(rows: Tensor) -> bool:
    return rows.dim() == 1 and not rows.is_floating_point()


def _names_of(rows: Tensor, classes: Sequence[str]) -> Any:
    """Return the name of each number, "" for one beyond the classes, as of a model with more outputs."""
    return numpy.array([classes[number] if 0 <= number < len(classes) else "" for number in rows.tolist()])


def _of_entries(path: Path, name: str, entries: list[Any]) -> list[tuple[str, Any]]:
    if path.suffix == ".jsonl":
        return [(name, [listed(entry) for entry in entries])]
    column = column_of(entries)
    if path.suffix == ".csv" and column is not None:
        return [(name, numpy.array([cell(entry) for entry in entries]) if column.dtype.kind == "U" else column)]
    found = [] if path.suffix == ".csv" else list(arrays_of(name, entries))
    if not found:
        raise ConfigError(
            f"a {path.suffix} cannot hold the output {name!r}, whose entries have several forms; "
            f"use output={path.with_suffix('.jsonl')}"
        )
    return found


def _array(rows: Tensor) -> Any:
    known = rows.float() if rows.dtype in (torch.bfloat16, torch.float16) else rows
    return known.contiguous().numpy()


def _write_npz(file: BinaryIO, *, arrays: Mapping[str, Any], classes: Sequence[str]) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                numpy.lib.format.write_array(member, array, allow_pickle=False)


def _write_jsonl(file: BinaryIO, *, arrays: Mapping[str, Any], classes: Sequence[str]) -> None:
    for row in _objects(arrays):
        text = json.dumps(row, ensure_ascii=False)
        file.write(
            text.encode(errors="backslashreplace") + b"\n"
        )  # a name that is no Unicode becomes \udc.., as in JSON


def _objects(arrays: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    columns = [array if isinstance(array, list) else array.tolist() for array in arrays.values()]
    for values in zip(*columns, strict=True):
        yield dict(zip(arrays, values, strict=True))


def _write_csv(file: BinaryIO, *, arrays: Mapping[str, Any], classes: Sequence[str]) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow([column for name, array in arrays.items() for column in _columns(name, array.shape[1:], classes)])
    for start in range(0, len(next(iter(arrays.values()))), _ROWS):
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


_WRITERS = {".csv": _write_csv, ".npz": _write_npz, ".jsonl": _write_jsonl}
