"""Every global random generator: seeded, saved, restored, and lent out without a trace."""

import os
import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch


class Randomness:
    """The state of all global generators of this process; Stateful."""

    def state_dict(self) -> dict[str, Any]:
        """Return the generators' states by rank."""
        return {"rank_0": _capture()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Put every generator back that exists here; those of absent devices are passed over.

        Raises:
            ValueError: these are not the states of the generators of one process.
        """
        try:
            if set(state_dict) != {"rank_0"}:
                raise ValueError(f"it has the generators of {sorted(state_dict)}, wanted those of rank_0")
            _restore(state_dict["rank_0"])
        except (LookupError, TypeError, RuntimeError, AttributeError, OverflowError) as error:
            raise ValueError(f"it is no state of random generators: {error!r}") from error


def _capture() -> dict[str, Any]:
    return {
        "python": random.getstate(),
        "numpy": _capture_numpy(),
        "torch": torch.get_rng_state(),
        "cuda": _capture_cuda(),
        "mps": torch.mps.get_rng_state() if torch.backends.mps.is_available() else None,
    }


def _capture_cuda() -> list[torch.Tensor]:
    """Return the states of all CUDA devices; of none where nothing has used CUDA, for asking would start it."""
    started = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return torch.cuda.get_rng_state_all() if started else []


def _capture_numpy() -> Any:
    if "numpy" not in sys.modules:
        return None
    name, keys, position, has_gauss, gauss = sys.modules["numpy"].random.get_state()
    return (name, torch.tensor(keys.tolist()), int(position), int(has_gauss), float(gauss))


def _restore(states: Mapping[str, Any]) -> None:
    random.setstate(states["python"])
    torch.set_rng_state(states["torch"])
    if states["numpy"] is not None:
        import numpy

        name, keys, *rest = states["numpy"]
        numpy.random.set_state((name, numpy.array(keys.tolist(), dtype=numpy.uint32), *rest))
    if torch.cuda.is_available():
        for index, state in enumerate(states["cuda"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(state, index)
    if states["mps"] is not None and torch.backends.mps.is_available():
        torch.mps.set_rng_state(states["mps"])


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, numpy and torch on every device."""
    random.seed(seed)
    torch.manual_seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed % 2**32)


@contextmanager
def isolated(seed: int, step: int) -> Iterator[None]:
    """Lend out generators that are seeded from (seed, step), and put the former states back in any case."""
    former = _capture()
    try:
        seed_everything((seed * 1_000_003 + step) % 2**63)
        yield
    finally:
        _restore(former)


def make_deterministic() -> None:
    """Let torch use deterministic algorithms only. https://docs.pytorch.org/docs/stable/notes/randomness.html"""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
