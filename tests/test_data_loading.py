"""Loading: the order, the resume without replay, the randomness of items, and what a batch can be."""

import functools
import operator
import os
import random
import signal
from collections import namedtuple
from collections.abc import Callable, Iterator
from itertools import islice
from multiprocessing import active_children
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from runner.data import Digits
from runner.data.loaders.loading import DataPosition, EvaluationLoader, TrainLoader, batch_length, micro_batches, move
from runner.data.memory import InMemory
from runner.data.selection import selection
from runner.errors import ConfigError

SIZE, BATCH = 10, 4  # batches of 4, 4 and 2


class Noisy(Dataset[tuple[Tensor, Tensor]]):
    """Index and noise from the three global generators."""

    def __len__(self) -> int:
        return SIZE

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return torch.tensor(index), torch.rand(2) + random.random() + float(np.random.rand())


class NoisyInBatches(Noisy):
    """The same for a whole batch, which is what `__getitems__` is for."""

    def __getitems__(self, indices: list[int]) -> list[tuple[Tensor, Tensor]]:
        noise = torch.rand(len(indices)) + random.random() + float(np.random.rand())
        return [(torch.tensor(index), value) for index, value in zip(indices, noise, strict=True)]


class Pids(Dataset[Tensor]):
    """The process that delivered the item, and whether a signal would end it."""

    def __len__(self) -> int:
        return SIZE

    def __getitem__(self, index: int) -> Tensor:
        names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
        ignored = all(signal.getsignal(getattr(signal, name)) is signal.SIG_IGN for name in names)
        return torch.tensor([os.getpid(), int(ignored)])


KINDS: dict[str, Callable[[], Any]] = {
    "in memory, augmented": lambda: few_digits(),
    "tensors": lambda: TensorDataset(torch.arange(SIZE), torch.arange(SIZE) * 10),
    "items": Noisy,
    "batches": NoisyInBatches,
}


def few_digits() -> Any:
    train = Digits(augment="flip_shift").train
    train.inputs, train.targets = train.inputs[:SIZE], torch.arange(SIZE)
    return train


def loader(dataset: Any, *, workers: int = 0, seed: int = 7, batch_size: int = BATCH) -> TrainLoader:
    return TrainLoader(dataset, batch_size=batch_size, seed=seed, workers=workers)


def take(dataset: Any, count: int, *, epoch: int = 0, sample: int = 0, **settings: int) -> list[Any]:
    batches = loader(dataset, **settings).batches(epoch=epoch, sample=sample)
    return list(islice(batches, count))


def order(count: int, **settings: int) -> list[list[int]]:
    """Return the indices of the first batches."""
    return [batch.tolist() for (batch,) in take(TensorDataset(torch.arange(SIZE)), count, **settings)]


def flat(batches: list[Any]) -> list[Any]:
    return [value for batch in batches for value in batch]


def same(one: list[Any], other: list[Any]) -> bool:
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(flat(one), flat(other), strict=True))


def generators() -> tuple[Any, ...]:
    """Return the states of the three global generators, comparable."""
    return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()


# The order


def test_every_epoch_has_each_sample_once_and_ends_with_a_smaller_batch() -> None:
    batches = order(6)
    assert [len(batch) for batch in batches] == [4, 4, 2, 4, 4, 2]
    assert (
        sorted(functools.reduce(operator.iadd, batches[:3], []))
        == sorted(functools.reduce(operator.iadd, batches[3:], []))
        == list(range(SIZE))
    )


def test_the_order_changes_with_epoch_and_seed_and_with_nothing_else() -> None:
    assert order(3) == order(3)
    assert order(3) != order(3, epoch=1) != order(3, epoch=1, seed=8)
    assert functools.reduce(operator.iadd, order(3), []) == functools.reduce(operator.iadd, order(2, batch_size=5), [])


def test_a_loader_knows_its_size_and_its_steps() -> None:
    known = loader(Noisy())
    assert (known.size, known.batch_size, known.steps_per_epoch) == (SIZE, BATCH, 3)
    assert loader(Noisy(), batch_size=5).steps_per_epoch == 2
    assert loader(Noisy(), batch_size=99).steps_per_epoch == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("consumed", [1, 2, 3, 4])
def test_a_resumed_loader_goes_on_bit_for_bit(kind: str, consumed: int) -> None:
    uninterrupted = take(KINDS[kind](), 7)
    epoch, batches = divmod(consumed, 3)
    resumed = take(KINDS[kind](), 7 - consumed, epoch=epoch, sample=batches * BATCH)
    assert same(resumed, uninterrupted[consumed:])


class _Downloads(TensorDataset):
    """Has a method `fetch` of its own, which has nothing to do with the loader's."""

    def __getitem__(self, index: int) -> Any:
        return super().__getitem__(index)

    def fetch(self, url: str) -> str:
        raise AssertionError(url)


class _Brighter(InMemory):
    """Changes each sample, and knows nothing of batches."""

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        inputs, target = super().__getitem__(index)
        return inputs + 1, target


@pytest.mark.parametrize("dataset", [_Downloads(torch.ones(4, 2)), _Brighter(torch.zeros(4, 2), torch.zeros(4))])
def test_a_method_of_the_users_own_is_never_taken_for_the_loaders(dataset: Any) -> None:
    for delivered in (dataset, selection(dataset, 3)):
        (batch,) = EvaluationLoader(delivered, batch_size=4, workers=0)
        assert torch.equal(batch[0], torch.ones(len(delivered), 2))


def test_a_resumed_loader_fetches_nothing_that_was_consumed() -> None:
    fetched: list[int] = []

    class Watched(Noisy):
        def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
            fetched.append(index)
            return super().__getitem__(index)

    take(Watched(), 1, sample=2 * BATCH)
    assert fetched == order(3)[2]


def test_another_batch_size_goes_on_in_the_same_order() -> None:
    assert (
        functools.reduce(operator.iadd, order(2, sample=4, batch_size=3), [])
        == functools.reduce(operator.iadd, order(3), [])[4:]
    )


@pytest.mark.parametrize("kind", KINDS)
def test_two_workers_deliver_what_the_main_process_would(kind: str) -> None:
    assert same(take(KINDS[kind](), 5, workers=2), take(KINDS[kind](), 5))


# Randomness


@pytest.mark.parametrize("kind", KINDS)
def test_loading_leaves_the_global_generators_as_they_are(kind: str) -> None:
    before = generators()
    take(KINDS[kind](), 4)
    list(EvaluationLoader(KINDS[kind](), batch_size=BATCH, workers=0))
    assert generators() == before


def test_starting_workers_leaves_the_global_generators_as_they_are() -> None:
    before = generators()
    take(Noisy(), 1, workers=1)
    list(EvaluationLoader(Noisy(), batch_size=BATCH, workers=1))
    assert generators() == before


def test_a_failing_item_leaves_the_global_generators_as_they_are() -> None:
    class Failing(Noisy):
        def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
            super().__getitem__(index)
            raise LookupError(index)

    before = generators()
    with pytest.raises(LookupError):
        take(Failing(), 1)
    assert generators() == before


@pytest.mark.parametrize("kind", ["in memory, augmented", "items", "batches"])
def test_items_do_not_depend_on_the_global_generators(kind: str) -> None:
    one = take(KINDS[kind](), 4)
    random.random(), np.random.rand(), torch.rand(3)
    assert same(take(KINDS[kind](), 4), one)


@pytest.mark.parametrize("kind", ["in memory, augmented", "items"])
def test_an_items_randomness_does_not_depend_on_its_batch(kind: str) -> None:
    fours, ones = take(KINDS[kind](), 3), take(KINDS[kind](), SIZE, batch_size=1)
    for position in (0, 1):
        assert torch.equal(torch.cat([b[position] for b in fours]), torch.cat([b[position] for b in ones]))


def test_an_item_differs_between_epochs_seeds_and_neighbours() -> None:
    def noise(**settings: int) -> dict[int, float]:
        indices, values = (torch.cat(parts) for parts in zip(*take(Noisy(), 3, **settings), strict=True))
        return dict(zip(indices.tolist(), values[:, 0].tolist(), strict=True))

    found = [noise(), noise(epoch=1), noise(seed=8)]
    assert len({value for values in found for value in values.values()}) == 3 * SIZE


def test_a_subset_of_noisy_items_is_loaded_exactly_too() -> None:
    subset = Subset(Noisy(), range(2, 8))
    assert same(take(subset, 3, sample=4), take(subset, 4)[1:])


def test_one_tensor_dataset_batch_is_a_tuple_of_tensors_as_a_standard_loader_collates_it() -> None:
    dataset = TensorDataset(torch.arange(SIZE), torch.arange(SIZE) * 10)
    numbers, tens = take(dataset, 1)[0]
    assert torch.equal(numbers * 10, tens) and numbers.shape == (BATCH,)


# Workers


def test_workers_outlive_the_epoch_and_ignore_the_signals_of_the_training_process() -> None:
    pids, ignored = torch.cat(take(Pids(), 9, workers=2)).unbind(1)
    assert len(set(pids.tolist())) == 2 and os.getpid() not in pids.tolist()
    assert bool(ignored.all())


# Evaluation


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("workers", [0, 1])
def test_an_evaluation_loader_delivers_everything_in_order_as_often_as_asked(kind: str, workers: int) -> None:
    dataset = TensorDataset(torch.arange(SIZE)) if kind == "tensors" else KINDS[kind]()
    evaluation = EvaluationLoader(dataset, batch_size=BATCH, workers=workers)
    first, second = list(evaluation), list(evaluation)
    assert evaluation.size == SIZE and len(evaluation) == len(first) == 3
    assert same(first, second)
    assert torch.cat([batch[1 if "memory" in kind else 0] for batch in first]).tolist() == list(range(SIZE))


# What is refused


class Endless(IterableDataset[int]):
    """No order to resume."""

    def __iter__(self) -> Iterator[int]:
        return iter(range(SIZE))


class Unsized(Dataset[int]):
    """Nobody knows where it ends."""

    def __getitem__(self, index: int) -> int:
        return index


@pytest.mark.parametrize("make", [loader, lambda dataset: EvaluationLoader(dataset, batch_size=2, workers=0)])
@pytest.mark.parametrize(
    ("dataset", "reason"),
    [
        (Endless(), "Endless can only be iterated"),
        (iter([1, 2]), "can only be iterated"),
        (Unsized(), "Unsized has no length"),
        (TensorDataset(torch.zeros(0, 2)), "TensorDataset is empty"),
    ],
)
def test_data_that_cannot_be_loaded_exactly_are_refused(make: Callable[[Any], Any], dataset: Any, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        make(dataset)


# The position


def test_a_position_follows_the_loaders_batches() -> None:
    position = DataPosition(SIZE, BATCH)
    assert [position.advance() for _ in range(6)] == [False, False, True] * 2
    position.advance()
    assert position.state_dict() == {"sample": 4, "size": SIZE, "batch_size": BATCH}


def test_a_position_is_restored_also_with_another_batch_size() -> None:
    position = DataPosition(SIZE, 3)
    position.load_state_dict({"sample": 8, "size": SIZE, "batch_size": BATCH})
    assert (position.sample, position.batch_size) == (8, 3)
    assert position.advance() and position.sample == 0


def test_a_position_in_other_data_is_refused_with_both_sizes() -> None:
    position = DataPosition(SIZE, BATCH)
    with pytest.raises(ValueError, match=r"12.*10"):
        position.load_state_dict({"sample": 4, "size": 12, "batch_size": BATCH})
    assert position.sample == 0


@pytest.mark.parametrize("sample", [-1, SIZE, 4.0, True, "4", None])
def test_an_impossible_position_is_refused(sample: Any) -> None:
    position = DataPosition(SIZE, BATCH)
    with pytest.raises(ValueError, match="is no position"):
        position.load_state_dict({"sample": sample, "size": SIZE, "batch_size": BATCH})
    assert position.sample == 0


# Batches

Pair = namedtuple("Pair", ["inputs", "targets"])
NESTED = {
    "images": [torch.arange(10).reshape(5, 2), (torch.arange(5),)],
    "pair": Pair(torch.arange(5), torch.ones(5)),
    "names": ["a", "b", "c", "d", "e"],
    "scale": 2.0,
}


def test_one_micro_batch_is_the_batch_itself() -> None:
    assert micro_batches(NESTED, 1)[0][0] is NESTED
    assert micro_batches(NESTED, 1)[0][1] == 1.0


def test_micro_batches_have_all_samples_in_order_and_their_share() -> None:
    pieces = micro_batches((torch.arange(10), torch.arange(10) * 2), 3)
    assert [share for _, share in pieces] == [0.4, 0.4, 0.2]
    for position, factor in ((0, 1), (1, 2)):
        assert torch.equal(torch.cat([piece[position] for piece, _ in pieces]), torch.arange(10) * factor)


@pytest.mark.parametrize(("size", "count", "sizes"), [(2, 5, [1, 1]), (1, 2, [1]), (5, 4, [2, 2, 1]), (6, 3, [2] * 3)])
def test_a_batch_has_at_most_the_asked_for_pieces_and_none_is_empty(size: int, count: int, sizes: list[int]) -> None:
    pieces = micro_batches(torch.arange(size), count)
    assert [len(piece) for piece, _ in pieces] == sizes
    assert sum(share for _, share in pieces) == pytest.approx(1.0)


def test_nested_batches_keep_their_form_in_pieces() -> None:
    (first, _), (second, share) = micro_batches(NESTED, 2)
    assert share == 0.4 and first["names"] + second["names"] == NESTED["names"]
    assert torch.equal(second["images"][0], torch.tensor([[6, 7], [8, 9]]))
    assert torch.equal(second["images"][1][0], torch.tensor([3, 4]))
    assert type(second["pair"]) is Pair and torch.equal(second["pair"].inputs, torch.tensor([3, 4]))
    assert second["scale"] == 2.0


def test_a_nested_batch_is_moved_whole_and_what_is_no_tensor_stays() -> None:
    moved = move(NESTED, torch.device("meta"))
    assert {moved["images"][0].device.type, moved["images"][1][0].device.type, moved["pair"].inputs.device.type} == {
        "meta"
    }
    assert type(moved["pair"]) is Pair and (moved["names"], moved["scale"]) == (NESTED["names"], 2.0)


@pytest.mark.parametrize("batch", [torch.zeros(5, 2), NESTED, (["a"] * 5, torch.zeros(5)), [{"x": torch.zeros(5)}]])
def test_a_batchs_length_is_that_of_its_first_tensor(batch: Any) -> None:
    assert batch_length(batch) == 5


def test_a_batch_without_a_tensor_has_no_length() -> None:
    with pytest.raises(ConfigError, match=r"a row a sample, and this is \(\[str, str\], int\)"):
        batch_length((["a", "b"], 3))


def test_no_more_workers_are_started_than_there_are_batches() -> None:
    evaluation = EvaluationLoader(Noisy(), batch_size=len(Noisy()) // 2 + 1, workers=5000)
    training = TrainLoader(Noisy(), batch_size=len(Noisy()), seed=0, workers=5000)
    before = set(active_children())
    list(evaluation)
    assert len(set(active_children()) - before) == 2 and training.workers == 1
