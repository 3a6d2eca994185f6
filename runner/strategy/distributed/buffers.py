"""The buffers of models, the same in every process."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from runner.strategy.distributed.group import as_bytes, in_time
from runner.strategy.strategies import Models


def broadcast_buffers(models: Models, group: Any) -> None:
    """Give the models of every process the buffers of the main process, those of one type as one."""
    kinds: dict[torch.dtype, list[Tensor]] = {}
    for model in models.values():
        for buffer in model.buffers():
            kinds.setdefault(buffer.dtype, []).append(buffer)
    with in_time(), torch.no_grad():
        for buffers in kinds.values():
            _broadcast(buffers, group)


def _broadcast(buffers: list[Tensor], group: Any) -> None:
    whole = torch.cat([buffer.reshape(-1) for buffer in buffers]).resolve_conj()
    dist.broadcast(as_bytes(whole), 0, group=group)
    for buffer, part in zip(buffers, torch.split(whole, [buffer.numel() for buffer in buffers]), strict=True):
        buffer.copy_(part.view_as(buffer))
