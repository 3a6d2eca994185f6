"""A strategy places models on devices and hands the loop their runnable form.

The state keeps the bare modules; the result of `wrap` is never saved, so no `module.` or `_orig_mod.` reaches a file.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import torch
from torch import nn

from runner.errors import ConfigError
from runner.strategy.devices import Devices, available
from runner.strategy.processes import Alone, Processes


class Strategy(Protocol):
    """How models run: the device of the batch, and the wrapper."""

    name: str
    device: torch.device
    processes: Processes

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return the runnable form of a model, which is already on `device`."""


class Single:
    """One model on one device, as it is."""

    name = "single"
    processes: Processes = Alone()

    def __init__(self, devices: Devices) -> None:
        self.device = devices.first

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return the model itself."""
        return model


class DataParallel:
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


class Compiled:
    """Wraps another strategy, and compiles each model with `torch.compile` first; `dynamic` None lets it find out.

    https://docs.pytorch.org/docs/stable/generated/torch.compile.html
    """

    def __init__(self, inner: Strategy, *, mode: str, dynamic: bool | None) -> None:
        self.name = inner.name
        self.device = inner.device
        self.processes = inner.processes
        self.inner = inner
        self._options: dict[str, Any] = {"mode": mode, "dynamic": dynamic}

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return the compiled model, wrapped by the inner strategy."""
        compiled: Any = torch.compile(model, **self._options)
        return self.inner.wrap(compiled)


def resolve_strategy(
    name: str, devices: Devices, index: int | Sequence[int] | None
) -> tuple[type[Single] | type[DataParallel], Devices]:
    """Return the strategy for `strategy=<name>` and its devices.

    With several visible GPUs, "auto" is DataParallel over all of them, unless `index` names some.

    Raises:
        ConfigError: `single` was requested with several devices.
    """
    if devices.kind == "cuda" and index is None and name != "single":
        devices = Devices("cuda", tuple(range(available()["cuda"])))
    several = len(devices.indices) > 1
    if name == "single" and several:
        raise ConfigError(f"strategy=single runs on one device, but device.index gives {devices}; name one")
    if name == "data_parallel" or (name == "auto" and several):
        return DataParallel, devices
    return Single, devices
