"""Read weights from any file: our checkpoints, the tutorial's, bare state_dicts, safetensors."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from runner.checkpoint.archive.safetensors_header import ENDING
from runner.checkpoint.format import read_plain
from runner.checkpoint.reader.entries import part_of
from runner.checkpoint.weights.indexed import INDEX, read_indexed
from runner.checkpoint.weights.safetensors import load_safetensors
from runner.errors import CheckpointMismatch, CheckpointRefused

BARE = ""
_EMA = "ema"

Weights = Mapping[str, Any]
"""Parameters and buffers by name: tensors, and the plain values of a module's extra state."""


@dataclass(frozen=True)
class Source:
    """The weights of a file."""

    path: Path
    parts: Mapping[str, Weights]
    """By part name; a file that is itself a state_dict has one part, `BARE`."""

    def choose(self, wanted: str, *, named: str | None = None, averaged: bool = False) -> Weights:
        """Return the weights for our model `wanted`.

        They are those of the part `named`; without it, of the part of the same name, or the only part.
        `averaged` chooses the part's moving average.

        Raises:
            CheckpointMismatch: there is no such part, or the choice is ambiguous.
        """
        name = self._name(wanted, named)
        if not averaged:
            return self.parts[name]
        average = _EMA if name == "model" else f"{name}_{_EMA}"
        if average not in self.parts:
            raise CheckpointMismatch(f"{self.path} has no moving average of {wanted}; use warm_start.weights=raw")
        return self.parts[average]

    def _name(self, wanted: str, named: str | None) -> str:
        averages = [name for name in self.parts if name == _EMA or name.endswith(f"_{_EMA}")]
        raw = [name for name in self.parts if name not in averages] or averages
        if named is not None and named not in self.parts:
            raise CheckpointMismatch(f"{self.path} has no part {named!r}; it has {', '.join(raw)}")
        name = named or (wanted if wanted in self.parts else None)
        if name is not None:
            return name
        if len(raw) != 1 or raw == averages:
            raise CheckpointMismatch(
                f"{self.path} has no part {wanted!r}, only {', '.join(raw)}; choose one with "
                f"'warm_start.parts={{{wanted}: {raw[0]}}}'"
            )
        return raw[0]


def read_source(path: Path) -> Source:
    """Return the weights in a file, every tensor on the CPU.

    Raises:
        CheckpointMissing, CheckpointDamaged, CheckpointRefused: it cannot be opened safely, or holds no weights.
    """
    content = _content(path)
    if not isinstance(content, Mapping):
        raise CheckpointRefused(f"{path} holds a {type(content).__name__}, not weights; name the file of a state_dict")
    if _is_weights(content):
        return Source(path, {BARE: content})
    parts = {
        part_of(str(name)): value
        for name, value in content.items()
        if isinstance(value, Mapping) and _is_weights(value)
    }
    if not parts:
        raise CheckpointRefused(f"{path} holds no weights: none of its entries is a state_dict of a model")
    return Source(path, parts)


def _content(path: Path) -> Any:
    if path.name.endswith(INDEX):
        return read_indexed(path)
    return load_safetensors(path) if path.suffix == ENDING else read_plain(path)


def _is_weights(value: Mapping[Any, Any]) -> bool:
    """Return whether a mapping is a module's state_dict: names to tensors, nothing nested except extra state."""
    flat = all(isinstance(key, str) and (_is_extra(key) or not _is_nested(item)) for key, item in value.items())
    return flat and any(isinstance(item, Tensor) and item.dim() > 0 for item in value.values())


def _is_extra(name: str) -> bool:
    """https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.get_extra_state"""
    return name.rpartition(".")[2] == "_extra_state"


def _is_nested(value: Any) -> bool:
    return isinstance(value, (Mapping, list, tuple))
