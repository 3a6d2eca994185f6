"""Every global random generator: seeded, saved, restored, isolated."""

import os
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch


class Randomness:
    """The state of all global generators of this process; Stateful.

    CUDA generators are in the order of the run's devices, so that a run on cuda:1 continues exactly on cuda:0.
    """

    def __init__(self, cuda: Sequence[int] = ()) -> None:
        self._cuda = tuple(cuda)

    def state_dict(self) -> dict[str, Any]:
        """Return the generators' states by rank."""
        return {"rank_0": _capture(self._cuda)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore every generator that exists here; ignore those of further devices.

        Raises:
            ValueError: this is not the state of one process's generators.
        """
        try:
            if set(state_dict) != {"rank_0"}:
                raise ValueError(f"it has the generators of {sorted(state_dict)}, not those of rank_0")
            _restore(state_dict["rank_0"], self._cuda)
        except (LookupError, TypeError, RuntimeError, AttributeError, OverflowError) as error:
            raise ValueError(f"it is not a state of random generators: {error!r}") from error


def _capture(cuda: Sequence[int]) -> dict[str, Any]:
    return {
        "python": random.getstate(),
        "numpy": _capture_numpy(),
        "torch": torch.get_rng_state(),
        "cuda": [torch.cuda.get_rng_state(index) for index in cuda],
        "mps": torch.mps.get_rng_state() if torch.backends.mps.is_available() else None,
    }


def _capture_numpy() -> Any:
    if "numpy" not in sys.modules:
        return None
    name, keys, position, has_gauss, gauss = sys.modules["numpy"].random.get_state()
    return (name, torch.tensor(keys.tolist()), int(position), int(has_gauss), float(gauss))


def _restore(states: Mapping[str, Any], cuda: Sequence[int]) -> None:
    random.setstate(states["python"])
    torch.set_rng_state(states["torch"])
    if states["numpy"] is not None:
        import numpy

        name, keys, *rest = states["numpy"]
        numpy.random.set_state((name, numpy.array(keys.tolist(), dtype=numpy.uint32), *rest))
    for index, state in zip(cuda, states["cuda"], strict=False):
        torch.cuda.set_rng_state(state, index)
    if states["mps"] is not None and torch.backends.mps.is_available():
        torch.mps.set_rng_state(states["mps"])


def seed_apart(seed: int, rank: int, step: int) -> None:
    """Seed the generators of a further process of a run, so that its numbers are others than the main process's."""
    seed_everything(((seed * 1_000_003 + step) * 1_000_003 + rank) % 2**63)


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, numpy and torch on every device."""
    random.seed(seed)
    torch.manual_seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed % 2**32)


@contextmanager
def isolated(seed: int, step: int) -> Iterator[None]:
    """Seed the global generators from (seed, step) inside the block, and restore their states after it."""
    cuda = cuda_in_use()
    former = _capture(cuda)
    try:
        seed_everything((seed * 1_000_003 + step) % 2**63)
        yield
    finally:
        _restore(former, cuda)


def cuda_in_use() -> Sequence[int]:
    """Return all CUDA devices; none where CUDA is unused, since a query would initialise it."""
    started = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return range(torch.cuda.device_count()) if started else ()


def set_deterministic(wanted: bool) -> None:
    """Restrict torch to deterministic algorithms, or not. https://docs.pytorch.org/docs/stable/notes/randomness.html"""
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
    if wanted != torch.are_deterministic_algorithms_enabled():  # each call imports torch's compiler
        torch.use_deterministic_algorithms(wanted)
