"""What all strategies of several processes share: the group over which they exchange gradients and buffers."""

from datetime import timedelta

import torch.distributed as dist
from torch import nn
from torch.optim import Optimizer

from runner.strategy.devices import Devices, available
from runner.strategy.distributed.buffers import broadcast_buffers
from runner.strategy.distributed.exchange import Exchange
from runner.strategy.distributed.loose import average_loose
from runner.strategy.processes import Processes, local_size
from runner.strategy.strategies import Models, Strategy


class Exchanging(Strategy):
    """One device for each process; NCCL connects GPUs of which each process has its own, gloo everything else."""

    def __init__(self, devices: Devices, processes: Processes, exchange: Exchange) -> None:
        self.device = devices.first
        self.processes = processes
        self._exchange = exchange
        backend = "nccl" if devices.kind == "cuda" and local_size() <= available()["cuda"] else "gloo"
        self._group = dist.new_group(backend=backend, timeout=timedelta(seconds=exchange.timeout))

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return the model itself, as it is evaluated."""
        return model

    def reduce(self, optimizer: Optimizer, models: Models) -> None:
        """Average the gradients of parameters outside of the models, such as a learner's own."""
        average_loose(optimizer, models, self._group)

    def align(self, models: Models) -> None:
        """Give the models of every process the buffers of the main process."""
        broadcast_buffers(models, self._group)
