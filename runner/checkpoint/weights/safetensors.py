"""Weights in a `.safetensors` file: read by our own reader, written by the package.

https://huggingface.co/docs/safetensors/index
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from runner.checkpoint.archive.safetensors_header import DTYPES, opened_weights
from runner.checkpoint.reader.building import built
from runner.errors import ConfigError

WRITABLE = frozenset(getattr(torch, name) for name in DTYPES.values() if hasattr(torch, name))
"""The dtypes that the format knows."""


def safetensors_bytes(weights: Mapping[str, Any], path: Path, metadata: dict[str, str] | None = None) -> bytes:
    """Return the weights of `path` as the bytes of a `.safetensors` file; tied ones are written under each name.

    Raises:
        ConfigError: the package is not installed, or a value is not a dense tensor.
    """
    odd = [
        name for name, value in weights.items() if not isinstance(value, Tensor) or value.layout is not torch.strided
    ]
    if odd:
        raise ConfigError(f"{path} has {odd[0]!r}, which is not a dense tensor, so a .safetensors file cannot hold it")
    try:
        from safetensors.torch import save
    except ImportError as error:
        raise _absent(path) from error
    return save({name: value.detach().cpu().clone().contiguous() for name, value in weights.items()}, metadata)


def read_safetensors_back(path: Path) -> dict[str, Any]:
    """Return what the safetensors package reads from a file that this program has just written."""
    from safetensors.torch import load_file

    return dict(load_file(path))


def load_safetensors(path: Path) -> dict[str, Any]:
    """Return the weights in a `.safetensors` file, each in its own memory.

    Raises:
        CheckpointMissing, CheckpointDamaged, CheckpointRefused: missing, truncated, or another kind of file.
    """
    with opened_weights(path) as weights:
        memory = {name: torch.empty(facts.size, dtype=torch.uint8) for name, (_, facts) in weights.tensors.items()}
        for name, (begin, facts) in weights.tensors.items():
            weights.file.seek(begin)
            if weights.file.readinto(memory[name].numpy()) != facts.size:  # type: ignore[attr-defined]
                raise ValueError(f"its tensor {name[:100]!r} ends early")
        storages = {name: tensor.untyped_storage() for name, tensor in memory.items()}
        return dict(built({name: facts for name, (_, facts) in weights.tensors.items()}, storages))


def _absent(path: Path) -> ConfigError:
    return ConfigError(f"{path} needs the package safetensors; install it with python -m pip install safetensors")
