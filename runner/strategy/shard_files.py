"""Shards on the disk: each process writes and reads its own, by torch.distributed.checkpoint, as safetensors.

DCP's other format keeps pickles, which can run code when they are opened.
https://docs.pytorch.org/docs/stable/distributed.checkpoint.html
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.tensor import DTensor

from runner.errors import CheckpointMismatch, SaveFailed
from runner.text import one_line


def copied(divided: DTensor) -> DTensor:
    """Return a copy on the CPU of a divided tensor, of which this process has its part."""
    local = divided.to_local().detach().to("cpu", copy=True)
    parts: Any = {"run_check": False, "shape": divided.shape, "stride": divided.stride()}
    return DTensor.from_local(local, divided.device_mesh, divided.placements, **parts)


def write_shards(folder: Path, tensors: Mapping[str, Tensor], group: Any) -> list[Path]:
    """Write this process's parts of the tensors, durably, and return its files; all processes call it together.

    Raises:
        SaveFailed: a process could not write.
    """
    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    try:
        save(dict(tensors), storage_writer=writer, process_group=group)
    except CheckpointException as error:
        raise SaveFailed(f"a shard failed on {_first(error)}") from error
    return sorted(folder.glob(f"shard-{dist.get_rank(group) + 1:05d}-*"))


def read_shards(folder: Path, tensors: Mapping[str, Tensor], group: Any) -> None:
    """Fill the tensors, of which this process has its parts, from shards of any number of processes.

    Raises:
        CheckpointMismatch: a process could not read its part.
    """
    reader = HuggingFaceStorageReader(str(folder))
    try:
        load(dict(tensors), storage_reader=reader, process_group=group)
    except CheckpointException as error:
        raise CheckpointMismatch(f"{folder} could not be read: {_first(error)}") from error


def _first(error: CheckpointException) -> str:
    rank, failure = next(iter(error.failures.items()))
    return one_line(f"rank {rank}: {failure[0]}", 300)
