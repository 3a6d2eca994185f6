"""The samples of each batch: a function of (seed, epoch), so that a resume needs no replay."""

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Generator, Tensor
from torch.utils.data import Sampler

from runner.blame import raised
from runner.data.loaders.batches import form_of
from runner.data.loaders.seeding import borrowed_generators, mixed, seed_generators
from runner.errors import ConfigError

Own = Callable[[int, Generator], Any] | Sampler[Any]
"""`order(epoch, generator)`, or a torch sampler: yields indices, or lists of them, one per batch."""


class Order:
    """The batches of every epoch, as indices; by default all samples once, shuffled per epoch."""

    def __init__(
        self,
        size: int,
        batch_size: int,
        seed: int,
        own: Own | None = None,
        *,
        even: bool = False,
        drop_last: bool = False,
    ) -> None:
        """Order `size` samples, by `own` if given; `even` requires epochs of equal length.

        `drop_last` leaves out a last batch that is too small, unless it is the only one or `own` made the batches.

        Raises:
            ConfigError: see `batches`.
        """
        self._size, self._batch_size, self._seed = size, batch_size, seed
        self._own, self._even, self._drop_last = own, even, drop_last
        first = () if own is None else self._batches(0, 0, 0)
        self.steps_per_epoch = self.steps(0) if own is None else len(first)
        if own is not None:
            self._check_repeats(first)

    @property
    def is_own(self) -> bool:
        """Whether the data define the order."""
        return self._own is not None

    def steps(self, epoch: int, sample: int = 0) -> int:
        """Return the number of batches of an epoch from a sample on; raises like `batches`."""
        if self._own is None:
            whole, rest = divmod(self._size - sample, self._batch_size)
            return whole + (rest > 0 and not (self._drop_last and whole))
        return len(self._batches(epoch, 0, sample))

    def batches(self, epoch: int, *, turn: int = 0, sample: int = 0) -> Sequence[Tensor]:
        """Return the indices of an epoch's batches, each (batch,) int64, from a sample on; each `turn` reorders them.

        Raises:
            ConfigError: the data's order has invalid indices, no batch that begins at `sample`, or, with `even`,
                another number of batches than in epoch 0.
        """
        found = self._batches(epoch, turn, sample)
        if self._own is not None and self._even and sample == 0 and len(found) != self.steps_per_epoch:
            raise ConfigError(
                f"the order of the data gave {len(found)} batches for epoch {epoch} and {self.steps_per_epoch} for "
                "epoch 0, so epochs=... gives no number of steps; give every epoch as many batches, or use "
                "epochs=null and max_steps=..."
            )
        return found

    def _check_repeats(self, first: Sequence[Tensor]) -> None:
        """Raise ConfigError for an order of epoch 0 that is another one when it is drawn again."""
        second = self._batches(0, 0, 0)
        if len(first) != len(second) or not all(map(torch.equal, first, second)):
            raise ConfigError(
                "the order of the data gave two orders for epoch 0, so no resume could bring it back; draw it from the "
                "`generator` that `order(epoch, generator)` is given, and keep no count of calls"
            )

    def _batches(self, epoch: int, turn: int, sample: int) -> Sequence[Tensor]:
        found = self._drawn(epoch, (self._seed, turn, epoch) if turn else (self._seed, epoch))
        if isinstance(found, Tensor):
            parts = torch.split(found[sample:], self._batch_size) if sample < len(found) else ()
            is_short = len(parts) > 1 and len(parts[-1]) < self._batch_size
            return parts[:-1] if self._drop_last and is_short else parts
        return self._from(found, sample, epoch)

    def _drawn(self, epoch: int, seed: tuple[int, ...]) -> Tensor | list[Tensor]:
        generator = Generator().manual_seed(mixed(*seed))
        if self._own is None:
            return torch.randperm(self._size, generator=generator)
        with borrowed_generators():
            seed_generators(*seed)
            try:
                drawn = _draw(self._own, epoch, generator)
            except Exception as error:
                raise ConfigError(f"the order of the data raised {raised(error)} for epoch {epoch}") from error
            return self._checked(drawn, epoch)

    def _checked(self, drawn: Any, epoch: int) -> Tensor | list[Tensor]:
        """Return indices, or lists of indices, as tensors; ConfigError for anything else."""
        try:
            found = drawn if isinstance(drawn, Tensor) else list(drawn)
            divided = _is_divided(found)
            batches = [_indices(batch) for batch in (found if divided else [found])]
        except (TypeError, ValueError, RuntimeError) as error:
            raise self._refusal(epoch, _shown(drawn)) from error
        for batch in batches:
            if not len(batch) or batch.min() < 0 or batch.max() >= self._size:
                what = f"the indices {batch.min()} to {batch.max()}" if len(batch) else "no index"
                raise self._refusal(epoch, what)
        return batches if divided else batches[0]

    def _refusal(self, epoch: int, found: str) -> ConfigError:
        return ConfigError(
            f"the order of the data gave {found} for epoch {epoch}; return indices from 0 to {self._size - 1}, or a "
            "list of them for each batch"
        )

    def _from(self, batches: list[Tensor], sample: int, epoch: int) -> list[Tensor]:
        """Return the batches that follow the first `sample` samples."""
        ends = [0, *accumulate(map(len, batches))]
        if sample not in ends:
            raise ConfigError(
                f"the checkpoint is at sample {sample} of epoch {epoch}, where no batch of the data's order ends; "
                "restore the order that it was written with, or warm-start from it"
            )
        return batches[ends.index(sample) :]


def _is_divided(drawn: Tensor | list[Any]) -> bool:
    """Return whether an order gives batches, and not the indices of samples."""
    return isinstance(drawn, list) and bool(drawn) and torch.as_tensor(drawn[0]).dim() == 1


def _shown(drawn: Any) -> str:
    return form_of(drawn) if hasattr(drawn, "shape") else f"{str(drawn)[:60]}"


def _indices(batch: Any) -> Tensor:
    found = torch.as_tensor(batch if isinstance(batch, Tensor) else list(batch))
    if found.dim() != 1 or (len(found) and (found.is_floating_point() or found.dtype is torch.bool)):
        raise ValueError(found.dtype)
    return found.long()


def _draw(own: Own, epoch: int, generator: Generator) -> Any:
    """Return the indices of an epoch, from an order or from a sampler with its generator seeded."""
    if not isinstance(own, Sampler):
        drawn = own(epoch, generator)
        return list(drawn) if isinstance(drawn, Iterator) else drawn
    _seed(own, epoch, generator.initial_seed())
    return list(own)


def _seed(sampler: Sampler[Any], epoch: int, seed: int) -> None:
    """Seed the generators that a sampler has, and those of the samplers that it draws from."""
    if callable(set_epoch := getattr(sampler, "set_epoch", None)):
        set_epoch(epoch)
    for inner in vars(sampler).values():
        if isinstance(inner, Generator):
            inner.manual_seed(seed)
        elif isinstance(inner, Sampler):
            _seed(inner, epoch, seed)


class Shortened:
    """An order cut to the first batches of each epoch."""

    def __init__(self, order: Own, batches: int, batch_size: int) -> None:
        self._order, self._batches, self._batch_size = order, batches, batch_size

    def __call__(self, epoch: int, generator: Generator) -> Any:
        """Return the first batches of an epoch, as indices or lists of them."""
        drawn = _draw(self._order, epoch, generator)
        drawn = drawn if isinstance(drawn, Tensor) else list(drawn)
        return drawn[: self._batches * (1 if _is_divided(drawn) else self._batch_size)]
