"""FSDP2: parameters, gradients and moments are divided over the processes, and gathered where they are used.

https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, OffloadPolicy, fully_shard

from runner.errors import ConfigError
from runner.stateful import Stateful
from runner.strategy.devices import Devices
from runner.strategy.distributed.exchange import Exchange
from runner.strategy.distributed.exchanging import Exchanging
from runner.strategy.distributed.group import in_time
from runner.strategy.distributed.sharding import Pair, deliver, localized, stand_ins
from runner.strategy.processes import Processes
from runner.strategy.shard_files import copied, read_shards, write_shards
from runner.strategy.strategies import Models


class FullySharded(Exchanging):
    """One device for each process; each holds its shard of every parameter."""

    name = "fsdp"
    runs_together = True

    def __init__(self, devices: Devices, processes: Processes, exchange: Exchange) -> None:
        super().__init__(devices, processes, exchange)
        self._delivery = dist.new_group(backend="gloo", timeout=timedelta(seconds=exchange.timeout))
        self._mesh = DeviceMesh.from_group(self._group, devices.kind)

    def twin(self, model: nn.Module) -> nn.Module:
        """Return a copy without memory."""
        return deepcopy(model, {id(one): nn.Parameter(one.to("meta"), one.requires_grad) for one in model.parameters()})

    def place(self, model: nn.Module) -> nn.Module:
        """Divide the model's units, and the rest of it as one; its names stay.

        Raises:
            ConfigError: no module is of a unit's class.
        """
        placed = model.to(self.device)
        offload = CPUOffloadPolicy() if self._exchange.cpu_offload else OffloadPolicy()
        options: Any = {"mesh": self._mesh, "reshard_after_forward": True, "offload_policy": offload}
        for unit in self._units(placed):
            fully_shard(unit, **options)
        fully_shard(placed, **options)
        return placed

    def _units(self, model: nn.Module) -> Iterator[nn.Module]:
        there = {type(module).__name__ for module in model.modules() if any(True for _ in module.parameters())}
        for name in self._exchange.units:
            if name not in there:
                raise ConfigError(
                    f"strategy.units=[{name}] is no class of the model's modules; choose from "
                    f"{', '.join(sorted(there))}"
                )
        yield from (module for module in model.modules() if type(module).__name__ in self._exchange.units)

    def accumulating(self, models: Models, *, last: bool) -> AbstractContextManager[Any]:
        """Return a context in which gradients are exchanged only of the last micro-batch."""
        return _exchanging(models, last)

    def localize(self, part: Stateful, state: Any, source: Path) -> Any:
        """Return a part's whole state as this process's shard of it; what is absent is read from `source`."""
        absent: dict[str, Tensor] = {}
        local = localized(part, state, absent)
        if self.processes.offered(True if absent else None):  # a part may differ from process to process
            with in_time():
                read_shards(source, absent, self._delivery)
        return local

    def stand_ins(self, states: Any) -> tuple[Any, list[Pair]]:
        """Return states with untouched whole tensors in place of divided ones, and these pairs."""
        return stand_ins(states)

    def deliver(self, pairs: list[Pair], place: Callable[[Tensor], Tensor]) -> None:
        """Bring all shards into the main process's whole tensors, whose memory `place` returns."""
        with in_time():
            deliver(pairs, place, self._delivery)

    def copied(self, pairs: list[Pair]) -> list[Tensor]:
        """Return copies of the divided tensors, for `write_shards`."""
        return [copied(divided) for _, divided in pairs]

    def write_shards(self, folder: Path, tensors: Mapping[str, Tensor]) -> list[Path]:
        """Write this process's parts of copied tensors, durably, and return its files."""
        with in_time():
            return write_shards(folder, tensors, self._delivery)


@contextmanager
def _exchanging(models: Models, last: bool) -> Iterator[None]:
    for model in models.values():
        if isinstance(model, FSDPModule):
            model.set_requires_gradient_sync(last)
    with in_time():
        yield
