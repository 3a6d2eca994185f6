"""DistributedDataParallel: a replica of each model in every process, whose gradients are averaged.

https://docs.pytorch.org/docs/stable/notes/ddp.html
"""

import inspect
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from runner.strategy.devices import Devices
from runner.strategy.distributed.exchange import Exchange
from runner.strategy.distributed.exchanging import Exchanging
from runner.strategy.distributed.group import in_time
from runner.strategy.processes import Processes
from runner.strategy.strategies import Models

# They are aligned once a step: a learner may run a model several times in one. The name has changed in torch 2.13.
_NAMES = inspect.signature(DistributedDataParallel.__init__).parameters
_LEAVING_BUFFERS: Any = {"forward_sync_buffers" if "forward_sync_buffers" in _NAMES else "broadcast_buffers": False}


class Distributed(Exchanging):
    """One device for each process; only the models of an update exchange gradients, also if others run in it."""

    name = "ddp"

    def __init__(self, devices: Devices, processes: Processes, exchange: Exchange) -> None:
        super().__init__(devices, processes, exchange)
        self._replicas: dict[int, tuple[list[bool], Replica]] = {}

    def place(self, model: nn.Module) -> nn.Module:
        """Return the model on this process's device, with synchronised BatchNorm if that is wanted."""
        placed = model.to(self.device)
        if self._exchange.sync_batchnorm:
            placed = nn.SyncBatchNorm.convert_sync_batchnorm(placed, self._group)  # type: ignore[no-untyped-call]
        return placed

    def updated(self, models: Models, names: str | tuple[str, ...]) -> Models:
        """Return replicas of the updated models, and the others as they are."""
        chosen = (names,) if isinstance(names, str) else names
        return {name: self._replica(model) if name in chosen else model for name, model in models.items()}

    def _replica(self, model: nn.Module) -> nn.Module:
        """Return the replica of a model, a new one after parameters were frozen or unfrozen."""
        trained = [parameter.requires_grad for parameter in model.parameters()]
        if not any(trained):
            return model
        known, replica = self._replicas.get(id(model), (None, None))
        if replica is None or known != trained:
            replica = self._made(model)
            self._replicas[id(model)] = trained, replica
        return replica

    def _made(self, model: nn.Module) -> "Replica":
        with in_time():
            return Replica(
                model,
                device_ids=[self.device.index] if self.device.type == "cuda" else None,
                process_group=self._group,
                **_LEAVING_BUFFERS,
                find_unused_parameters=self._exchange.find_unused,
                gradient_as_bucket_view=True,
            )

    def accumulating(self, models: Models, *, last: bool) -> AbstractContextManager[Any]:
        """Return a context in which no gradient is exchanged, unless the micro-batch is the last one."""
        return in_time() if last else _silent(models.values())


class Replica(DistributedDataParallel):
    """A model whose gradients are averaged over the processes; it must be called, not one of its methods."""

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the model; AttributeError for a method, whose gradients would not be averaged."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "module":
                raise
        value = getattr(self.module, name)
        if callable(value) and not isinstance(value, nn.Module):
            raise AttributeError(
                f"strategy=ddp averages the gradients of a model that is called, not of its method {name}; let its "
                f"`forward` do what {name} does"
            )
        return value


@contextmanager
def _silent(models: Iterable[nn.Module]) -> Iterator[None]:
    with ExitStack() as stack:
        for model in models:
            if isinstance(model, DistributedDataParallel):
                stack.enter_context(model.no_sync())
        yield
