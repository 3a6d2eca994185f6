"""Whole tensors from shards and back: what FSDP2 divides over processes, and a checkpoint holds whole.

A parameter is divided along its first dimension, as `torch.chunk` divides: rank after rank, the last ones with less, or
with nothing.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from runner.stateful import Absent, Stateful
from runner.strategy.distributed.group import as_bytes

Pair = tuple[Tensor, DTensor]


def stand_ins(states: Any) -> tuple[Any, list[Pair]]:
    """Return states with a whole tensor in place of each divided one, and these pairs in order.

    The whole tensors' memory is never touched, so that it costs nothing.
    """
    pairs: list[Pair] = []

    def replaced(value: Any) -> Any:
        if isinstance(value, DTensor):
            pairs.append((torch.empty(value.shape, dtype=value.dtype), value))
            return pairs[-1][0]
        if isinstance(value, Mapping):
            copy = type(value)((key, replaced(item)) for key, item in value.items())  # type: ignore[call-arg]
            if hasattr(value, "_metadata"):
                copy._metadata = value._metadata  # type: ignore[attr-defined]
            return copy
        return type(value)(map(replaced, value)) if type(value) in (list, tuple) else value

    return replaced(states), pairs


def deliver(pairs: list[Pair], place: Callable[[Tensor], Tensor], group: Any) -> None:
    """Send every shard to the main process, which puts it into `place(whole)`; one shard at a time is in memory."""
    rank, size = dist.get_rank(group), dist.get_world_size(group)
    for whole, divided in pairs:
        local = divided.to_local().detach().cpu().contiguous()
        if rank:
            if local.numel():
                dist.send(as_bytes(local), 0, group=group)
            continue
        target = place(whole)
        target[: len(local)].copy_(local)
        for other, rows in enumerate(torch.chunk(target, size)[1:], start=1):
            dist.recv(as_bytes(rows), other, group=group)


def localized(part: Stateful, state: Any, absent: dict[str, Tensor]) -> Any:
    """Return a part's whole state with the divided tensors that the part has itself.

    A tensor that stands in shards becomes an empty one, which is added to `absent` by its name there.
    """
    if isinstance(part, Optimizer):
        return _of_optimizer(part, state, absent)
    return _like(part.state_dict(), state, absent)


def _like(own: Any, state: Any, absent: dict[str, Tensor]) -> Any:
    divided = isinstance(own, DTensor) and own.shape == getattr(state, "shape", None)
    if isinstance(state, Absent):
        empty = torch.empty_like(own, dtype=state.dtype) if divided else torch.empty(state.shape, dtype=state.dtype)
        absent[state.name] = empty
        return empty
    if divided and isinstance(state, Tensor):
        return distribute_tensor(state, own.device_mesh, own.placements, src_data_rank=None)
    if isinstance(own, Mapping) and type(state) in (dict, type(own)):
        copy = type(state)((key, _like(own.get(key), item, absent)) for key, item in state.items())
        if hasattr(state, "_metadata"):
            copy._metadata = state._metadata
        return copy
    return state


def _of_optimizer(optimizer: Optimizer, state: Any, absent: dict[str, Tensor]) -> Any:
    """Return an optimizer's state, matched to its parameters by name, with divided moments."""
    own = {
        name: parameter
        for group in optimizer.param_groups
        for name, parameter in zip(group.get("param_names", ()), group["params"], strict=False)
    }
    named = {
        index: name
        for group in state["param_groups"]
        for name, index in zip(group.get("param_names", ()), group["params"], strict=False)
    }
    moments = {
        index: {key: _like(own.get(named.get(index, "")), value, absent) for key, value in one.items()}
        for index, one in state["state"].items()
    }
    return {**state, "state": moments}
