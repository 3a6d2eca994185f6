"""Activation checkpointing: chosen modules run again in the backward pass, so that their activations need no memory.

https://docs.pytorch.org/docs/stable/checkpoint.html
"""

import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from runner.errors import ConfigError

_KEY = "device.checkpoint_activations"


def recompute(models: Iterable[nn.Module], chosen: Sequence[str]) -> None:
    """Let the modules of these classes, or whose names match these patterns, run again in the backward pass.

    Outputs, gradients, buffers and names in the file stay as they are; only the modules' classes are replaced, by
    subclasses. Random numbers are the same in both runs if a module draws them from torch.

    Raises:
        ConfigError: an entry names no class and matches no module.
    """
    named = [(name, module) for model in models for name, module in model.named_modules()]
    classes = {type(module).__name__ for _, module in named}
    found = {id(module): module for one in chosen for module in _modules(one, named, classes)}
    subclasses = {kind: _recomputing(kind) for kind in {type(module) for module in found.values()}}
    for module in found.values():
        module.__class__ = subclasses[type(module)]


def _modules(one: str, named: Sequence[tuple[str, nn.Module]], classes: set[str]) -> list[nn.Module]:
    """Return the modules of a class or, if there is no such class, those whose names match."""
    if one in classes:
        return [module for _, module in named if type(module).__name__ == one]
    try:
        pattern = re.compile(one)
    except re.error as error:
        raise ConfigError(f"{_KEY}=[{one}] is neither a class nor a regular expression: {error}") from error
    if found := [module for name, module in named if name and pattern.search(name)]:
        return found
    raise ConfigError(
        f"{_KEY}=[{one}] is no class of the model's modules and matches none of their names; the classes are "
        f"{', '.join(sorted(classes))}"
    )


def _recomputing(kind: type[nn.Module]) -> type[nn.Module]:
    """Return a subclass of the same name whose forward pass is checkpointed.

    A subclass, unlike a `forward` of the instance, also serves copies and the replicas of DataParallel.
    """

    @wraps(kind.forward)
    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return kind.forward(self, *args, **kwargs)

        def run(*given: Any) -> Any:
            return kind.forward(self, *given[: len(args)], **dict(zip(kwargs, given[len(args) :], strict=True)))

        # A compiler needs no context, since it takes changes of buffers out of what it repeats.
        context: dict[str, Any] = {} if torch.compiler.is_compiling() else {"context_fn": _contexts(self)}
        return checkpoint(run, *args, *kwargs.values(), use_reentrant=False, **context)

    own = {name: getattr(kind, name) for name in ("__module__", "__qualname__", "__doc__")}
    make: Any = type(kind)
    subclass: type[nn.Module] = make(kind.__name__, (kind,), {**own, "forward": forward})
    return subclass


def _contexts(module: nn.Module) -> Callable[[], tuple[AbstractContextManager[Any], AbstractContextManager[Any]]]:
    return lambda: (nullcontext(), _FormerBuffers(module))


class _FormerBuffers:
    """Lends modules copies of the buffers that they had at first, such as a BatchNorm's running statistics."""

    def __init__(self, module: nn.Module) -> None:
        self._former = [(one._buffers, _copies(one._buffers)) for one in module.modules() if one._buffers]

    def __enter__(self) -> None:
        self._present = [dict(buffers) for buffers, _ in self._former]
        for buffers, former in self._former:
            _fill(buffers, _copies(former))

    def __exit__(self, *_: object) -> None:
        for (buffers, _former), present in zip(self._former, self._present, strict=True):
            _fill(buffers, present)


def _copies(buffers: dict[str, Tensor | None]) -> dict[str, Tensor | None]:
    return {name: None if buffer is None else buffer.detach().clone() for name, buffer in buffers.items()}


def _fill(buffers: dict[str, Tensor | None], content: dict[str, Tensor | None]) -> None:
    buffers.clear()
    buffers.update(content)
