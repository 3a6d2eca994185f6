"""How several processes exchange gradients, as the config says."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Exchange:
    """How several processes exchange gradients."""

    timeout: float
    """The seconds that a process waits for another."""
    find_unused: bool
    """Whether parameters without a gradient are looked for in every step."""
    sync_batchnorm: bool
    """Whether BatchNorm layers normalize over the batches of all processes."""
