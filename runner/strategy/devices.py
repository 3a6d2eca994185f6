"""List the devices of this machine, and choose those of a run."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from runner.errors import ConfigError, DeviceMissing


@dataclass(frozen=True)
class Devices:
    """The devices of a run, all of one kind; `indices` is empty where the kind has none (cpu, mps)."""

    kind: str
    indices: tuple[int, ...] = ()

    @property
    def first(self) -> torch.device:
        """The device of the model and the batches."""
        return torch.device(self.kind, self.indices[0]) if self.indices else torch.device(self.kind)

    def __str__(self) -> str:
        """Return `cpu`, `cuda:1` or `cuda:0,1`."""
        return f"{self.kind}:{','.join(map(str, self.indices))}" if self.indices else self.kind


def available() -> dict[str, int]:
    """Return the available kinds of device and how many of each, the preferred one first."""
    found = {"cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0}
    found["mps"] = int(torch.backends.mps.is_available())
    found["cpu"] = 1
    return {kind: count for kind, count in found.items() if count}


def choose_devices(kind: str, index: int | Sequence[int] | None) -> Devices:
    """Return the devices for `device=<kind>` and `device.index`; "auto" takes the best kind present.

    Raises:
        DeviceMissing: the kind or an index is not on this machine; the message lists what is.
        ConfigError: an index was given for a kind that has none.
    """
    here = available()
    kind = next(iter(here)) if kind == "auto" else kind
    listing = ", ".join(f"{count} x {name}" if name == "cuda" else name for name, count in here.items())
    if kind not in here:
        raise DeviceMissing(f"device={kind} is not on this machine, which has {listing}; use device={next(iter(here))}")
    if kind != "cuda":
        if index is not None:
            raise ConfigError(f"device.index={index} has no meaning for device={kind}; leave it out")
        return Devices(kind)
    indices = (0,) if index is None else (index,) if isinstance(index, int) else tuple(index)
    for one in indices or (-1,):
        if not 0 <= one < here["cuda"]:
            raise DeviceMissing(f"device.index={one} is not on this machine; use 0 to {here['cuda'] - 1}")
    return Devices(kind, indices)
