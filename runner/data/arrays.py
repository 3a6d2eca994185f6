"""Data from one file of arrays."""

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from runner.data.balance import balanced
from runner.data.inputs.npz import Npz
from runner.data.inputs.transform import Transform
from runner.data.memory import InMemory
from runner.data.selection import without_val
from runner.errors import CheckpointError, ConfigError, DataMissing
from runner.text import one_line

_SPLITS = ("train", "val", "test")
_NAMED = ("_inputs", "_targets")
_CLASSES = "classes"


class Arrays:
    """The arrays `train_inputs` and `train_targets` of a file, with `val_*` and `test_*` if present.

    uint8 inputs, (samples, channels, height, width) or (samples, height, width), are images, scaled to [-1, 1].
    Without `val`, a fixed tenth of the training samples becomes `val`; `val_*` or `test_*` alone are for evaluation.
    Integer targets are classes; for float
    targets, `num_classes` is the number of values per sample. A list `classes` names the classes in order.
    """

    def __init__(self, path: str | None, read_tensors: Callable[[Path], Any], balance: str = "none") -> None:
        """Read a `.npz`, or with `read_tensors` a `.pt` that holds a dictionary of tensors.

        Raises:
            ConfigError: no path.
            DataMissing: the file is missing, damaged, or holds other arrays.
        """
        if path is None:
            raise ConfigError("data=arrays needs a file; set data.path=FILE, a .npz or .pt")
        file = Path(path).expanduser()
        arrays, names = _npz(file) if file.suffix == ".npz" else _pt(file, read_tensors)
        _check_names(arrays, file)
        pairs = {split: _pair(arrays, split, file) for split in _SPLITS}
        if pairs["train"] is not None and pairs["val"] is None:
            inputs, targets = pairs["train"]
            rest, val = without_val(len(inputs))
            pairs["train"], pairs["val"] = (inputs[rest], targets[rest]), (inputs[val], targets[val])
        found = {split: pair for split, pair in pairs.items() if pair is not None}
        every = [targets for _, targets in found.values()]
        classes = _classes(every, file)
        if "train" in found or every[0].is_floating_point():  # a test may lack the last classes
            self.num_classes = classes
        self._classes = _class_names(names, classes, file)
        shape = _shape([inputs for inputs, _ in found.values()], file)
        first, _ = next(iter(found.values()))
        self._transform = Transform(shape, "uint8" if first.dtype is torch.uint8 else "float32")
        self.in_features = math.prod(shape)
        if len(shape) == 3:
            self.in_channels, self.image_size = shape[0], shape[1:]
        self.train, self.val, self.test = (InMemory(*found[split]) if split in found else None for split in _SPLITS)
        self.order = None if self.train is None else balanced(balance, self.train.targets)

    def identity(self) -> dict[str, Any]:
        """Return the form of the inputs, and the names of the classes if the file has them."""
        named = {"classes": self._classes} if self._classes else {}
        return {**named, "transform": self._transform.plain()}


def _npz(path: Path) -> tuple[dict[str, Tensor], Any]:
    """Return the arrays by name, and the names of the classes."""
    archive = Npz(path, "data.path")
    found = {name: _tensor(archive[name], path) for name in _named(archive.names, path)}
    return found, archive[_CLASSES].tolist() if _CLASSES in archive.names else None


def _tensor(array: Any, path: Path) -> Tensor:
    try:
        return torch.from_numpy(array)
    except (TypeError, ValueError) as error:
        reason = one_line(error, 200)
        raise DataMissing(f"{path} cannot be read as a .npz of plain arrays ({reason}); write it again") from error


def _pt(path: Path, read_tensors: Callable[[Path], Any]) -> tuple[dict[str, Tensor], Any]:
    if not path.is_file():
        raise DataMissing(f"there is no file {path}; set data.path to a .npz or .pt")
    try:
        content = read_tensors(path)
    except CheckpointError as error:  # its advice is about checkpoints
        reason = str(error).partition(";")[0]
        raise DataMissing(f"{reason}; data.path needs a dictionary of tensors that torch.save wrote") from error
    if not isinstance(content, Mapping):
        raise DataMissing(f"{path} does not hold a dictionary of tensors such as train_inputs and train_targets")
    found = {name: content[name] for name in _named(content, path)}
    if odd := [name for name, value in found.items() if not isinstance(value, Tensor) or value.is_complex()]:
        raise DataMissing(f"{path}: {', '.join(odd)} is not a tensor of real numbers")
    return {str(name): value.detach() for name, value in found.items()}, content.get(_CLASSES)


def _named(names: Iterable[Any], path: Path) -> list[Any]:
    """Return the names of inputs and targets; DataMissing, listing what is there, without any."""
    if found := [name for name in names if str(name).endswith(_NAMED)]:
        return found
    there = ", ".join(str(name)[:50] for name in list(names)[:10]) or "nothing"
    raise DataMissing(f"{path} has no train_inputs and train_targets but {there}; rename its arrays")


def _check_names(arrays: Mapping[str, Tensor], path: Path) -> None:
    """Raise DataMissing for a split with an unknown name, which would silently go unused."""
    if unknown := sorted({name.rpartition("_")[0] for name in arrays} - set(_SPLITS)):
        raise DataMissing(f"{path} has a split called {', '.join(unknown)}; the names are {', '.join(_SPLITS)}")


def _pair(arrays: Mapping[str, Tensor], split: str, path: Path) -> tuple[Tensor, Tensor] | None:
    names = (f"{split}_inputs", f"{split}_targets")
    if not any(name in arrays for name in names):
        return None
    if not all(name in arrays for name in names):
        raise DataMissing(f"{path} has only one of {names[0]} and {names[1]}; give both")
    inputs, targets = (arrays[name] for name in names)
    if inputs.dim() < 2 or targets.dim() < 1 or len(inputs) != len(targets) or not len(inputs):
        raise DataMissing(
            f"{path}: {names[0]} and {names[1]} have the shapes {tuple(inputs.shape)} and {tuple(targets.shape)}; "
            "the first numbers must be equal, and each input needs at least one dimension"
        )
    inputs, targets = _as_inputs(inputs), targets.float() if targets.is_floating_point() else targets.long()
    for name, values in zip(names, (inputs, targets), strict=True):
        if not torch.isfinite(values).all():
            raise DataMissing(f"{path}: {name} has values that are not finite; leave these samples out, or fill them")
    return inputs, targets


def _as_inputs(inputs: Tensor) -> Tensor:
    """Return uint8 images with a channel dimension, and other inputs as float32."""
    if inputs.dtype is not torch.uint8 or inputs.dim() not in (3, 4):
        return inputs.float()
    return inputs.unsqueeze(1) if inputs.dim() == 3 else inputs


def _classes(targets: list[Tensor], path: Path) -> int:
    first = targets[0]
    if any(other.dtype != first.dtype or other.shape[1:] != first.shape[1:] for other in targets):
        raise DataMissing(f"{path}: the targets of its splits differ in type or shape")
    if first.is_floating_point():
        return max(1, math.prod(first.shape[1:]))
    if first.dim() != 1 or min(int(each.min()) for each in targets) < 0:
        raise DataMissing(f"{path}: integer targets are classes; use one dimension and numbers from 0")
    return 1 + max(int(each.max()) for each in targets)


def _class_names(names: Any, count: int, path: Path) -> list[str]:
    """Return the names of the classes, empty if the file has none."""
    if names is None:
        return []
    if not isinstance(names, list) or len(names) < count or any(not isinstance(name, str) for name in names):
        raise DataMissing(f"{path}: {_CLASSES} is not a list of {count} names; give one name per class")
    return names


def _shape(inputs: list[Tensor], path: Path) -> tuple[int, ...]:
    shapes = {tuple(each.shape[1:]) for each in inputs}
    if len(shapes) != 1:
        raise DataMissing(f"{path}: the inputs of its splits have several shapes: {', '.join(map(str, shapes))}")
    return shapes.pop()
