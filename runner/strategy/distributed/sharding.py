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

from runner.stateful import MAPPINGS, Absent, Stateful, mapped
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
        if type(value) in MAPPINGS:
            return mapped(value, lambda _, item: replaced(item))
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
    if type(state) in MAPPINGS:
        return mapped(state, lambda key, item: _like(_item(own, key), item, absent))
    if type(state) in (list, tuple):
        return type(state)(_like(_item(own, index), item, absent) for index, item in enumerate(state))
    return state


def _item(own: Any, key: Any) -> Any:
    """Return what the part itself has under a key; None for nothing."""
    if isinstance(own, Mapping):
        return own.get(key)
    return own[key] if type(own) in (list, tuple) and key < len(own) else None


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
    rest = {key: _like(None, value, absent) for key, value in state.items() if key != "state"}
    return {**rest, "state": moments}
