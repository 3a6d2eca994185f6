"""The batches of training, in micro-batches that fit into memory."""

import logging
from collections.abc import Callable, Iterator
from copy import deepcopy

import torch

from runner.data.loaders.batches import Batch
from runner.data.sources import Source
from runner.learners import Learner
from runner.loop.evaluate import modules_within
from runner.loop.state import TrainState
from runner.optim.buffers import kept_buffers
from runner.progress import Seen

Compute = Callable[[Batch], list[Seen]]
"""Computes a gradient from a batch; may raise torch.OutOfMemoryError."""


class Feed:
    """Delivers the batches of training from the state's position on, for ever."""

    def __init__(self, source: Source, state: TrainState, learner: Learner) -> None:
        self._source, self._state, self._learner = source, state, learner
        self._open()

    def _open(self) -> None:
        progress = self._state.progress
        self._batches = self._source.batches(self._state.data, epoch=progress.epoch, turn=progress.rollbacks)

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        self._latest = next(self._batches)
        return self._latest

    def gradient(self, compute: Compute) -> list[Seen]:
        """Return what `compute` does from the latest batch."""
        return compute(self._latest)


class HalvingFeed(Feed):
    """Where memory runs out, goes on with half as large micro-batches, from this very gradient on.

    A failed attempt leaves no trace: generators, buffers and the learner's state are restored. The number of
    micro-batches that was found is a counter of the run, so that a resume begins with it.
    """

    def _open(self) -> None:
        self._source = self._source.divided(self._state.progress.accumulate)
        super()._open()

    def gradient(self, compute: Compute) -> list[Seen]:
        """Return what `compute` does from the latest batch, in micro-batches that fit.

        Raises:
            torch.OutOfMemoryError: one sample is too much.
        """
        put_back = self._kept()
        while (found := self._attempt(compute)) is None:
            put_back()
            self._halve()
        return found

    def _attempt(self, compute: Compute) -> list[Seen] | None:
        """Return None, and let go of all that was computed, if memory ran out."""
        try:
            return compute(self._latest)
        except torch.OutOfMemoryError:
            if max(self._latest.counts) == 1:
                raise
            return None

    def _kept(self) -> Callable[[], None]:
        """Return a function that restores all that a forward pass may change."""
        state = self._state
        own = {f"learner.{number}": module for number, module in enumerate(modules_within(self._learner))}
        put_back_buffers, random = kept_buffers({**state.models, **own}), state.rng.state_dict()
        learner = deepcopy(state.learner.state_dict()) if state.learner is not None else None

        def put_back() -> None:
            put_back_buffers()
            state.rng.load_state_dict(random)
            if state.learner is not None and learner is not None:
                state.learner.load_state_dict(deepcopy(learner))

        return put_back

    def _halve(self) -> None:
        """Deliver the latest batch again in twice as many micro-batches, and all batches after it."""
        progress = self._state.progress
        progress.accumulate = 2 * len(self._latest.parts)
        torch.cuda.empty_cache()
        self._open()
        next(self)
        logging.getLogger("runner").warning(
            "out of memory in step %d: accumulate=%d from here on, in micro-batches of at most %d samples",
            progress.global_step + 1,
            progress.accumulate,
            max(self._latest.counts),
        )
