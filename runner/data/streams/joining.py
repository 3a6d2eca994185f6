"""One step of several processes, each with samples of its own shards, of which some may have ended."""

import hashlib
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch

from runner.data.loaders.batches import Batch, tensors_of
from runner.data.loaders.shares import Everyone

_NONE = Batch((), ())


class Joint:
    """Joins what the processes have for a step: each gets as many micro-batches, its own and stand-ins.

    The stand-in is the first micro-batch seen here; a process that has seen none gets another's.
    """

    def __init__(self, everyone: Everyone) -> None:
        self._everyone = everyone
        self._stand_in: Any = None

    def step(self, own: Batch | None, *, more: bool) -> Batch | None:
        """Return this process's part of a step, None if no process has a sample.

        `more` tells whether this process has further samples in the epoch.
        """
        mine = own or _NONE
        lacks = own is None and self._stand_in is None
        told = self._everyone.tally((mine.here, len(mine.parts), more, lacks))
        samples, parts, going, lacking = zip(*told, strict=True)
        if not any(samples):
            return None
        if self._everyone.size > 1:
            self._keep(mine, giver=next(rank for rank, count in enumerate(samples) if count), asked=any(lacking))
            mine = self._filled(mine, max(parts))
        return replace(mine, ends_epoch=not any(going), elsewhere=sum(samples) - mine.here)

    def _keep(self, mine: Batch, *, giver: int, asked: bool) -> None:
        """Keep a stand-in, which the `giver` sends to all processes if one `asked` for it."""
        first = deepcopy(mine.parts[0]) if mine.parts and self._stand_in is None else self._stand_in
        if asked:
            offered = self._everyone.offered(first if self._everyone.rank == giver else None)
            first = offered if first is None else first
        self._stand_in = first

    def _filled(self, mine: Batch, parts: int) -> Batch:
        """Return a batch of so many parts; a stand-in is copied, since a learner may change what it gets."""
        added = [deepcopy(self._stand_in) for _ in range(parts - len(mine.parts))]
        return replace(mine, parts=(*mine.parts, *added), counts=(*mine.counts, *[0] * len(added)))


class Opening:
    """How a stream begins in each process: its first batch is the stand-in of training, the same after a resume."""

    def __init__(self, everyone: Everyone, first: Batch | None) -> None:
        """Take the first batch of this process's shard, with the same seeds in all; None if it has no sample."""
        self.joint = Joint(everyone)
        self._begun: list[int] = []
        """By rank, a number that follows from the first samples; 0 without one."""
        if everyone.size > 1:
            self.joint.step(first, more=True)
            told = everyone.tally((0 if first is None else _digest(first) or 1 + everyone.rank,))
            self._begun = [number for (number,) in told]

    def notices(self, name: str) -> list[str]:
        """Return which processes have no sample of the stream, or the same as another."""
        said = [
            f"the stream {name} gives rank {rank} no sample, so it computes with stand-ins; give the stream at least "
            "as many shards as processes"
            for rank, number in enumerate(self._begun)
            if not number
        ][:1]
        for rank, number in enumerate(self._begun):
            if number and (first := self._begun.index(number)) < rank:
                return [
                    *said,
                    f"the stream {name} begins with the same samples in ranks {first} and {rank}; unless it divides "
                    "what it reads by `get_worker_info()`, every process trains on all of it",
                ]
        return said


def _digest(batch: Batch) -> int:
    """Return a number above 0 that follows from the tensors of a batch; 0 if there are none to compare."""
    digest, nothing = hashlib.sha256(), hashlib.sha256().digest()
    for tensor in (tensor for part in batch.parts for tensor in tensors_of(part)):
        if tensor.layout is torch.strided and not tensor.is_quantized:
            plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
            digest.update(plain.view(torch.uint8).numpy().tobytes())
    return 0 if digest.digest() == nothing else 1 + int.from_bytes(digest.digest()[:7], "big")
