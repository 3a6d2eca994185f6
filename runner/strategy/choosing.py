"""Choose the strategy of a run, and the devices of this process."""

from collections.abc import Sequence

from runner.errors import ConfigError
from runner.strategy.devices import Devices, available
from runner.strategy.distributed.exchange import Exchange
from runner.strategy.processes import Processes, is_launched, local_rank
from runner.strategy.strategies import DataParallel, Single, Strategy

_OF_PROCESSES = ("ddp", "fsdp")


def resolve_strategy(
    name: str, devices: Devices, index: int | Sequence[int] | None, processes: Processes, exchange: Exchange
) -> tuple[Strategy, Devices]:
    """Return the strategy for `strategy=<name>`, and the devices of this process.

    "auto" is DistributedDataParallel under torchrun; else, with several visible GPUs, DataParallel over all of them,
    unless `index` names some.

    Raises:
        ConfigError: the strategy does not fit the number of processes or devices.
    """
    if processes.size > 1:
        return _of_several(name, devices, index, processes, exchange)
    if name in _OF_PROCESSES:
        if not is_launched():
            raise ConfigError(
                f"strategy={name} needs several processes; start them with torchrun --nproc-per-node=2 run.py ..."
            )
        name = "single"  # the only process that is left of several
    if devices.kind == "cuda" and index is None and name != "single":
        devices = Devices("cuda", tuple(range(available()["cuda"])))
    several = len(devices.indices) > 1
    if name == "single" and several:
        raise ConfigError(f"strategy=single runs on one device, but device.index gives {devices}; name one")
    if name == "data_parallel" or (name == "auto" and several):
        return DataParallel(devices), devices
    return Single(devices), devices


def _of_several(
    name: str, devices: Devices, index: int | Sequence[int] | None, processes: Processes, exchange: Exchange
) -> tuple[Strategy, Devices]:
    if name not in ("auto", *_OF_PROCESSES):
        raise ConfigError(
            f"strategy={name} runs in one process, and torchrun started {processes.size}; use strategy=ddp or fsdp, "
            "or start it without torchrun"
        )
    own = _of_this_process(devices, index)
    if name == "fsdp":
        from runner.strategy.distributed.fsdp import FullySharded

        return FullySharded(own, processes.limited(exchange.timeout), exchange), own
    from runner.strategy.distributed.ddp import Distributed

    return Distributed(own, processes.limited(exchange.timeout), exchange), own


def _of_this_process(devices: Devices, index: int | Sequence[int] | None) -> Devices:
    """Return the device of this process: the GPUs of a host, or those of `index`, in turn."""
    if devices.kind != "cuda":
        return devices
    choice = range(available()["cuda"]) if index is None else devices.indices
    return Devices("cuda", (choice[local_rank() % len(choice)],))
