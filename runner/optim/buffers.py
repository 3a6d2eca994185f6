"""Buffers that appear or grow during training: None at first, or a queue that lengthens."""

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn


def copied(model: nn.Module, replaced: Mapping[int, Tensor] | None = None) -> nn.Module:
    """Return a deep copy, even of a model with computed tensors in attributes, as `weight_norm` makes.

    It has the `replaced` tensors in place of those of these ids.
    """
    computed = (value for module in model.modules() for value in vars(module).values() if isinstance(value, Tensor))
    clones = {id(value): value.detach().clone() for value in computed if not value.is_leaf}
    return deepcopy(model, {**clones, **(replaced or {})})


def take_buffers(model: nn.Module, state: Any) -> None:
    """Give a new model's buffers the shapes in a saved state, ready to load it.

    Changes only registered buffers that are None or have another shape; strict loading reports any other difference.
    """
    if not isinstance(state, Mapping):
        return
    modules = dict(model.named_modules())
    near = next((tensor.device for tensor in [*model.parameters(), *model.buffers()]), torch.device("cpu"))
    for name, value in state.items():
        place, _, key = str(name).rpartition(".")
        buffers = modules[place]._buffers if place in modules else {}
        if key in buffers and isinstance(value, Tensor):
            own = buffers[key]
            if own is None or own.shape != value.shape:
                buffers[key] = torch.empty_like(value, device=near if own is None else own.device)


def follow_buffers(copy: nn.Module, model: nn.Module) -> None:
    """Give a copy of a model the same buffers, in the same shapes."""
    originals = dict(model.named_modules())
    for name, mine in copy.named_modules():
        theirs = originals.get(name, mine)
        for key, buffer in theirs._buffers.items():
            own = mine._buffers.get(key)
            if buffer is None or own is None or own.shape != buffer.shape:
                mine._buffers[key] = None if buffer is None else buffer.detach().clone()
        mine._non_persistent_buffers_set = set(theirs._non_persistent_buffers_set)
        for key in mine._buffers.keys() - theirs._buffers.keys():
            del mine._buffers[key]


def kept_buffers(models: Mapping[str, nn.Module]) -> Callable[[], None]:
    """Return a function that restores every buffer as it is now: value, shape and presence."""
    kept = [(module._buffers, dict(_copies(module))) for model in models.values() for module in model.modules()]

    def put_back() -> None:
        with torch.no_grad():
            for buffers, before in kept:
                for key in buffers.keys() - before.keys():
                    del buffers[key]
                for key, (buffer, value) in before.items():
                    buffers[key] = buffer
                    if buffer is not None:
                        buffer.copy_(value)

    return put_back


def _copies(module: nn.Module) -> Iterator[tuple[str, Any]]:
    for key, buffer in module._buffers.items():
        yield key, (buffer, None if buffer is None else buffer.detach().clone())
