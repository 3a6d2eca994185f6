"""A strategy places models on devices and hands the loop their runnable form.

The state keeps the bare modules; the result of `wrap` is never saved, so no `module.` or `_orig_mod.` reaches a file.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from runner.stateful import Stateful
from runner.strategy.devices import Devices
from runner.strategy.processes import Alone, Processes

Models = Mapping[str, nn.Module]


class Strategy(Protocol):
    """How models run: the device of the batch, the wrapper, and what several processes exchange in a step."""

    name: str
    device: torch.device
    processes: Processes
    runs_together: bool = False
    """Whether a model runs in all processes or in none, since each has a part of it."""

    def twin(self, model: nn.Module) -> nn.Module:
        """Return, before a model is placed, one of the same size that runs in one process."""
        return model

    def place(self, model: nn.Module) -> nn.Module:
        """Return a model where it is to run, before an optimizer has its parameters."""
        return model.to(self.device)

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return the runnable form of a model, which was placed."""

    def updated(self, models: Models, names: str | tuple[str, ...]) -> Models:
        """Return the models, in the form that an update of `names` runs."""
        return models

    def accumulating(self, models: Models, *, last: bool) -> AbstractContextManager[Any]:
        """Return the context of the forward pass of a micro-batch; gradients are exchanged after the `last` one."""
        return _NOTHING

    def reduce(self, optimizer: Optimizer, models: Models) -> None:
        """Exchange the gradients that the models, as `updated` returned them, have not exchanged by themselves."""
        return None

    def align(self, models: Models) -> None:
        """Give the models of every process the buffers of the main process."""
        return None

    def localize(self, part: Stateful, state: Any, source: Path) -> Any:
        """Return the state of a part, read from the checkpoint `source`, as this process restores it."""
        return state

    def stand_ins(self, states: Any) -> tuple[Any, list[Any]]:
        """Return states as a file holds them, with untouched tensors for those that `deliver` fills."""
        return states, []

    def deliver(self, pairs: list[Any], place: Callable[[Tensor], Tensor]) -> None:
        """Fill what `stand_ins` returned, in memory that `place` returns in the main process."""
        return None

    def copied(self, pairs: list[Any]) -> list[Tensor]:
        """Return copies of the divided tensors that `stand_ins` returned, in memory of this process."""
        return []

    def write_shards(self, folder: Path, tensors: Mapping[str, Tensor]) -> list[Path]:
        """Write this process's parts of copied tensors into a folder, durably, and return its files."""
        return []


_NOTHING = nullcontext()


class Single(Strategy):
    """One model on one device, as it is."""

    name = "single"
    processes: Processes = Alone()

    def __init__(self, devices: Devices) -> None:
        self.device = devices.first

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return the model itself."""
        return model


class DataParallel(Strategy):
    """One process with a replica on each device; scatters every batch over them.

    https://docs.pytorch.org/docs/stable/generated/torch.nn.DataParallel.html
    """

    name = "data_parallel"
    processes: Processes = Alone()

    def __init__(self, devices: Devices) -> None:
        self.device = devices.first
        self._indices = list(devices.indices)

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return the model replicated over the devices; on the CPU the model itself."""
        # Without indices torch takes every GPU, even for a model on the CPU.
        return _Replicated(model, device_ids=self._indices) if self._indices else model


class _Replicated(nn.DataParallel[nn.Module]):
    """Replicas that compute in the caller's autocast format, each in its own thread."""

    def parallel_apply(self, replicas: Any, inputs: Any, kwargs: Any) -> Any:
        """Run the replicas; torch passes autocast on to their threads, but not its format."""
        own: Any = in_callers_format("cuda")
        return super().parallel_apply([own(replica) for replica in replicas], inputs, kwargs)


def in_callers_format(device: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that runs a function in this thread's autocast format, whichever thread calls it."""
    if not torch.is_autocast_enabled(device):
        return lambda function: function
    dtype = torch.get_autocast_dtype(device)

    def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
        return cast(Callable[..., Any], torch.autocast(device, dtype=dtype)(function))

    return wrapped


class Compiled(Strategy):
    """Another strategy, whose models are compiled with `torch.compile` first; `dynamic` None lets it find out.

    https://docs.pytorch.org/docs/stable/generated/torch.compile.html
    """

    def __init__(self, inner: Strategy, *, mode: str, dynamic: bool | None) -> None:
        self.name = inner.name
        self.device = inner.device
        self.processes = inner.processes
        self.runs_together = inner.runs_together
        self.inner = inner
        self._options: dict[str, Any] = {"mode": mode, "dynamic": dynamic}

    def twin(self, model: nn.Module) -> nn.Module:
        """Return the twin of the inner strategy."""
        return self.inner.twin(model)

    def place(self, model: nn.Module) -> nn.Module:
        """Place the model as the inner strategy does."""
        return self.inner.place(model)

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return the compiled model, wrapped by the inner strategy."""
        compiled: Any = torch.compile(model, **self._options)
        return self.inner.wrap(compiled)

    def updated(self, models: Models, names: str | tuple[str, ...]) -> Models:
        """Return the models as the inner strategy does."""
        return self.inner.updated(models, names)

    def accumulating(self, models: Models, *, last: bool) -> AbstractContextManager[Any]:
        """Return the context of the inner strategy."""
        return self.inner.accumulating(models, last=last)

    def reduce(self, optimizer: Optimizer, models: Models) -> None:
        """Exchange what the inner strategy does."""
        self.inner.reduce(optimizer, models)

    def align(self, models: Models) -> None:
        """Align the models as the inner strategy does."""
        self.inner.align(models)

    def localize(self, part: Stateful, state: Any, source: Path) -> Any:
        """Return the state as the inner strategy restores it."""
        return self.inner.localize(part, state, source)

    def stand_ins(self, states: Any) -> tuple[Any, list[Any]]:
        """Return the states as the inner strategy does."""
        return self.inner.stand_ins(states)

    def deliver(self, pairs: list[Any], place: Callable[[Tensor], Tensor]) -> None:
        """Fill what the inner strategy does."""
        self.inner.deliver(pairs, place)

    def copied(self, pairs: list[Any]) -> list[Tensor]:
        """Return the copies of the inner strategy."""
        return self.inner.copied(pairs)

    def write_shards(self, folder: Path, tensors: Mapping[str, Tensor]) -> list[Path]:
        """Write what the inner strategy does."""
        return self.inner.write_shards(folder, tensors)


def unwrapped(part: Any) -> Any:
    """Return the bare module inside wrappers of DataParallel, DistributedDataParallel and `torch.compile`."""
    while isinstance(part, nn.Module):
        parallel = isinstance(part, (nn.DataParallel, nn.parallel.DistributedDataParallel))
        inner = part.module if parallel else getattr(part, "_orig_mod", None)
        if inner is None:
            return part
        part = inner
    return part
