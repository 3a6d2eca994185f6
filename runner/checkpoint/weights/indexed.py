"""Weights in several `.safetensors` files, with the index that Hugging Face's libraries read.

https://huggingface.co/docs/safetensors/index
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from runner.checkpoint.archive.safetensors_header import ENDING
from runner.checkpoint.weights.safetensors import load_safetensors
from runner.errors import CheckpointDamaged, CheckpointMissing
from runner.small_files import Malformed, read_entries

INDEX = f"{ENDING}.index.json"
_MODEL = "model"  # the name that Hugging Face's libraries look for in a folder
_LARGEST = 24 << 20  # bytes of an index


def grouped(tensors: Mapping[str, Tensor], largest: int) -> list[dict[str, Tensor]]:
    """Return tensors in groups of at most `largest` bytes, in their order; a larger tensor is alone."""
    groups: list[dict[str, Tensor]] = [{}]
    room = largest
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        if size > room and groups[-1]:
            groups.append({})
            room = largest
        groups[-1][name] = tensor
        room -= size
    return groups


def file_names(stem: str, count: int) -> list[str]:
    """Return the names of the files of an index, such as `model-00001-of-00002.safetensors`."""
    return [f"{stem}-{number:05d}-of-{count:05d}{ENDING}" for number in range(1, count + 1)]


def index_of(groups: Mapping[str, Mapping[str, Tensor]]) -> bytes:
    """Return an index, for the groups by file name."""
    sizes = (tensor.numel() * tensor.element_size() for group in groups.values() for tensor in group.values())
    places = {name: file for file, group in groups.items() for name in group}
    return json.dumps({"metadata": {"total_size": sum(sizes)}, "weight_map": places}, indent=2).encode()


def weights_in(folder: Path) -> Path | None:
    """Return the index, or the only file, of a folder as Hugging Face's libraries save a model; None without one."""
    names = (f"{_MODEL}{INDEX}", f"{_MODEL}{ENDING}")
    return next((folder / name for name in names if os.path.isfile(folder / name)), None)


def read_indexed(path: Path) -> dict[str, Any]:
    """Return the weights of an index, each in its own memory.

    Raises:
        CheckpointMissing: there is no such file.
        CheckpointDamaged, CheckpointRefused: the index or a file is invalid, or they do not agree.
    """
    found: dict[str, Any] = {}
    for file, wanted in _names_by_file(path).items():
        weights = load_safetensors(path.parent / file)
        if missing := sorted(wanted - weights.keys()):
            raise CheckpointDamaged(f"{path} is damaged, or {file} is: it has no {missing[0][:100]!r}")
        found |= {name: weights[name] for name in weights if name in wanted}
    return found


def _names_by_file(path: Path) -> Mapping[str, set[str]]:
    try:  # Hugging Face's cache holds links to its files
        places = read_entries(path.resolve(), largest=_LARGEST).get("weight_map")
    except FileNotFoundError as error:
        raise CheckpointMissing(f"there is no file at {path}") from error
    except (Malformed, OSError) as error:
        raise CheckpointDamaged(f"{path} is damaged, or no index of weights: {error}") from error
    if not isinstance(places, dict) or not places or not all(map(_is_name, places.values())):
        raise CheckpointDamaged(f"{path} is damaged, or no index of weights: its weight_map names no files beside it")
    names: dict[str, set[str]] = {}
    for name, file in places.items():
        names.setdefault(file, set()).add(name)
    return names


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value.endswith(ENDING) and "/" not in value and not value.startswith(".")
