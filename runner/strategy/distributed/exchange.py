"""How several processes exchange gradients, as the config says."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Exchange:
    """How several processes exchange gradients."""

    timeout: float
    """The seconds that a process waits for another."""
    find_unused: bool
    """Whether parameters without a gradient are looked for in every step."""
    units: Sequence[str]
    """The classes of modules that FSDP gathers one by one."""
    cpu_offload: bool
    """Whether FSDP keeps its shards in the host's memory."""
    sync_batchnorm: bool
    """Whether BatchNorm layers normalize over the batches of all processes."""
