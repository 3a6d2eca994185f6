"""Loading: the order, the resume without replay, the randomness of items, and what a batch can be."""

import functools
import operator
import os
import random
import signal
from collections import UserDict, namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from multiprocessing import active_children
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence
from torch.utils.data import (
    BatchSampler,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
)

from runner.data import Digits
from runner.data.loaders.batches import tensors_of
from runner.data.loaders.loading import Batch, DataPosition, EvaluationLoader, Loading, TrainLoader, move
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
    return TrainLoader(dataset, Loading(batch_size, workers), seed=seed)


def take(dataset: Any, count: int, *, epoch: int = 0, sample: int = 0, **settings: int) -> list[Any]:
    batches = loader(dataset, **settings).batches(at(sample), epoch=epoch)
    return [batch.whole for batch in islice(batches, count)]


def evaluated(dataset: Any, batch_size: int = BATCH, workers: int = 0) -> list[Any]:
    """Return the batches of an evaluation."""
    return [batch.whole for batch in EvaluationLoader(dataset, Loading(batch_size, workers))]


def order(count: int, **settings: int) -> list[list[int]]:
    """Return the indices of the first batches."""
    return [batch.tolist() for (batch,) in take(TensorDataset(torch.arange(SIZE)), count, **settings)]


def at(sample: int) -> DataPosition:
    return DataPosition(SIZE, BATCH, sample)


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
        (batch,) = evaluated(delivered)
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
    evaluated(KINDS[kind]())
    assert generators() == before


def test_starting_workers_leaves_the_global_generators_as_they_are() -> None:
    before = generators()
    take(Noisy(), 1, workers=1)
    evaluated(Noisy(), workers=1)
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
    evaluation = EvaluationLoader(dataset, Loading(BATCH, workers))
    first, second = ([batch.whole for batch in evaluation] for _ in range(2))
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


@pytest.mark.parametrize("make", [loader, lambda dataset: EvaluationLoader(dataset, Loading(2))])
@pytest.mark.parametrize(
    ("dataset", "reason"),
    [
        ({1, 2}, "set is no data set"),
        (Unsized(), "Unsized has no length"),
        (TensorDataset(torch.zeros(0, 2)), "TensorDataset is empty"),
    ],
)
def test_data_that_cannot_be_loaded_exactly_are_refused(make: Callable[[Any], Any], dataset: Any, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        make(dataset)


# The position


def batches_of(*sizes: int) -> list[Batch]:
    """Return the batches of one epoch, of which only the number of samples counts."""
    return [Batch((None,), (size,), number == len(sizes)) for number, size in enumerate(sizes, start=1)]


def test_a_position_follows_the_loaders_batches() -> None:
    position, epoch = DataPosition(SIZE, BATCH), batches_of(4, 4, 2)
    assert [position.advance(batch) for batch in epoch * 2] == [False, False, True] * 2
    position.advance(epoch[0])
    assert position.state_dict() == {"sample": 4, "size": SIZE, "batch_size": BATCH}


def test_a_position_is_restored_also_with_another_batch_size() -> None:
    position = DataPosition(SIZE, 3)
    position.load_state_dict({"sample": 8, "size": SIZE, "batch_size": BATCH})
    assert (position.sample, position.batch_size) == (8, 3)
    assert position.advance(batches_of(2)[0]) and position.sample == 0


def test_a_position_in_other_data_is_refused_with_both_sizes() -> None:
    position = DataPosition(SIZE, BATCH)
    with pytest.raises(ValueError, match=r"12.*10"):
        position.load_state_dict({"sample": 4, "size": 12, "batch_size": BATCH})
    assert position.sample == 0


@pytest.mark.parametrize("sample", [-1, SIZE, 4.0, True, "4", None])
def test_an_impossible_position_is_refused(sample: Any) -> None:
    position = DataPosition(SIZE, BATCH)
    with pytest.raises(ValueError, match="is not a position"):
        position.load_state_dict({"sample": sample, "size": SIZE, "batch_size": BATCH})
    assert position.sample == 0


# Micro-batches


def parts_of(dataset: Any, accumulate: int, **settings: Any) -> list[tuple[Any, float]]:
    """Return the micro-batches of the first batch, with their shares."""
    made = TrainLoader(dataset, Loading(settings.pop("batch_size", BATCH), **settings), seed=7, accumulate=accumulate)
    return list(next(made.batches(at(0), epoch=0)).micro_batches())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("workers", [0, 1])
def test_micro_batches_have_all_samples_of_the_batch_in_order_and_their_share(kind: str, workers: int) -> None:
    (whole,) = take(KINDS[kind](), 1, batch_size=10)
    pieces = parts_of(KINDS[kind](), 3, batch_size=10, workers=workers)
    assert [share for _, share in pieces] == [0.4, 0.4, 0.2]
    for position in (0, 1):
        assert torch.equal(torch.cat([piece[position] for piece, _ in pieces]), whole[position])


@pytest.mark.parametrize(("size", "count", "sizes"), [(2, 5, [1, 1]), (1, 2, [1]), (5, 4, [2, 2, 1]), (6, 3, [2] * 3)])
def test_a_batch_has_at_most_the_asked_for_pieces_and_none_is_empty(size: int, count: int, sizes: list[int]) -> None:
    pieces = parts_of(TensorDataset(torch.arange(size)), count, batch_size=99)
    assert [len(piece[0]) for piece, _ in pieces] == sizes
    assert sum(share for _, share in pieces) == pytest.approx(1.0)


# What a batch can be


class Sentences(Dataset[list[int]]):
    """Ragged samples: as many numbers as the index says, and one more."""

    def __len__(self) -> int:
        return SIZE

    def __getitem__(self, index: int) -> list[int]:
        return [index] * (index + 1)


def padded(samples: list[list[int]]) -> dict[str, Any]:
    """Return ragged samples as a rectangle, with noise of this batch's own; three colours first, to mislead."""
    longest = max(map(len, samples))
    rows = [sample + [-1] * (longest - len(sample)) for sample in samples]
    return {"colours": torch.zeros(3), "tokens": torch.tensor(rows), "noise": torch.rand(1), "names": ["a"]}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("accumulate", [1, 2, 4])
def test_ragged_samples_are_collated_by_the_datas_own_way_and_counted_by_their_indices(
    workers: int, accumulate: int
) -> None:
    made = TrainLoader(Sentences(), Loading(BATCH, workers, collate=padded), seed=7, accumulate=accumulate)
    before = generators()
    for batch, indices in zip(islice(made.batches(at(0), epoch=0), 3), order(3), strict=True):
        assert batch.size == len(indices) and len(batch.parts) == min(accumulate, len(indices))
        assert [row[0].item() for part in batch.parts for row in part["tokens"]] == indices
        assert all(part["tokens"].shape[1] == part["tokens"].max() + 1 for part in batch.parts)
    assert generators() == before
    again = TrainLoader(Sentences(), Loading(BATCH, collate=padded), seed=7, accumulate=accumulate)
    resumed = next(again.batches(at(2 * BATCH), epoch=0))
    assert all(torch.equal(one["noise"], other["noise"]) for one, other in zip(resumed.parts, batch.parts, strict=True))


def test_an_evaluation_collates_and_counts_alike() -> None:
    found = list(EvaluationLoader(Sentences(), Loading(BATCH, collate=padded)))
    assert [batch.size for batch in found] == [4, 4, 2] and len(found[2].whole["tokens"]) == 2


Pair = namedtuple("Pair", ["inputs", "targets"])


@dataclass(frozen=True)
class Boxes:
    corners: Tensor
    labels: list[Tensor]


class Encoding(UserDict[str, Any]):
    """Like a tokenizer's: a mapping that knows more than its items."""

    source = "unknown"


class Graph:
    """Knows by itself how it moves."""

    def __init__(self, device: str = "cpu") -> None:
        self.device = device

    def to(self, device: torch.device) -> "Graph":
        return Graph(device.type)


def nested() -> dict[str, Any]:
    encoding = Encoding(tokens=torch.ones(2))
    encoding.source = "a tokenizer"
    return {
        "images": [torch.arange(10).reshape(5, 2), (torch.arange(5),)],
        "pair": Pair(torch.arange(5), torch.ones(5)),
        "boxes": Boxes(torch.zeros(3, 4), [torch.zeros(1), torch.zeros(2)]),
        "encoding": encoding,
        "packed": pack_sequence([torch.ones(3), torch.ones(2)]),
        "graph": Graph(),
        "names": ["a", "b"],
        "scale": 2.0,
    }


def test_whatever_people_collate_is_moved_whole_and_what_is_no_tensor_stays() -> None:
    batch = nested()
    moved = move(batch, torch.device("meta"))
    of_tensors = list(tensors_of(moved))
    assert len(of_tensors) == 8 and {tensor.device.type for tensor in of_tensors} == {"meta"}
    assert moved["graph"].device == "meta" and moved["packed"].data.device.type == "meta"
    assert type(moved["pair"]) is Pair and type(moved["boxes"]) is Boxes
    assert type(moved["encoding"]) is Encoding and moved["encoding"].source == "a tokenizer"
    assert (moved["names"], moved["scale"]) == (["a", "b"], 2.0)
    assert {tensor.device.type for tensor in tensors_of(batch)} == {"cpu"}


# An order of the data's own


def of_own(own: Any, epoch: int = 0, sample: int = 0, *, even: bool = False, count: int = 6) -> list[list[int]]:
    """Return the indices of the first batches in an order of the data's own."""
    made = TrainLoader(TensorDataset(torch.arange(SIZE)), Loading(BATCH), seed=7, order=own, even=even)
    return [batch.whole[0].tolist() for batch in islice(made.batches(at(sample), epoch=epoch), count)]


def weighted(epoch: int, generator: torch.Generator) -> Tensor:
    return torch.multinomial(torch.arange(1.0, SIZE + 1), 12, replacement=True, generator=generator)


def by_length(epoch: int, generator: torch.Generator) -> list[list[int]]:
    """Batches of neighbours, which have different sizes, in an order of the epoch's own."""
    batches = [[0, 1, 2, 3, 4], [5, 6, 7], [8, 9]]
    return [batches[number] for number in torch.randperm(3, generator=generator).tolist()]


ORDERS: dict[str, Callable[[], Any]] = {
    "weighted": lambda: weighted,
    "own batches": lambda: by_length,
    "as numbers": lambda: lambda epoch, generator: weighted(epoch, generator).tolist(),
    "from global state": lambda: lambda epoch, generator: random.sample(range(SIZE), 8),
    "sampler": lambda: WeightedRandomSampler([1.0] * SIZE, 12),
    "sampler with a generator": lambda: RandomSampler(range(SIZE), generator=torch.Generator()),
    "batch sampler": lambda: BatchSampler(RandomSampler(range(SIZE)), 3, drop_last=True),
}


@pytest.mark.parametrize("name", ORDERS)
def test_an_own_order_is_a_function_of_seed_and_epoch_and_goes_on_from_every_batch(name: str) -> None:
    before = generators()
    whole = of_own(ORDERS[name]())
    assert whole == of_own(ORDERS[name](), even=True) and generators() == before
    steps = TrainLoader(TensorDataset(torch.arange(SIZE)), Loading(BATCH), seed=7, order=ORDERS[name]()).steps_per_epoch
    assert steps == 3 or "global" in name
    consumed = 0
    for number in range(steps):
        assert of_own(ORDERS[name](), sample=consumed, count=steps - number) == whole[number:steps]
        consumed += len(whole[number])
    second = of_own(ORDERS[name](), epoch=1, count=steps)
    assert second == whole[steps : 2 * steps] != whole[:steps]


def test_an_epoch_ends_where_its_own_order_ends() -> None:
    made = TrainLoader(TensorDataset(torch.arange(SIZE)), Loading(BATCH), seed=7, order=by_length)
    position = DataPosition(SIZE, BATCH, own_order=True)
    found = [(position.advance(batch), batch.size) for batch in islice(made.batches(at(0), epoch=0), 6)]
    assert [ended for ended, _ in found] == [False, False, True] * 2
    assert sorted(size for _, size in found[:3]) == [2, 3, 5]


@pytest.mark.parametrize(
    ("own", "said"),
    [
        (lambda epoch, generator: [0, SIZE], r"gave the indices 0 to 10 for epoch 0; return indices from 0 to 9"),
        (lambda epoch, generator: [], "gave no index for epoch 0"),
        (lambda epoch, generator: [[1], []], "gave no index for epoch 0"),
        (lambda epoch, generator: ["a"], r"gave \['a'\] for epoch 0"),
        (lambda epoch, generator: torch.rand(3), "return indices from 0 to 9"),
        (lambda epoch, generator: None, "gave None for epoch 0"),
    ],
)
def test_an_order_that_is_none_is_refused(own: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        of_own(own)


class Permuting(Sampler[int]):
    """Draws from a generator that nobody seeds, or from one below a sampler of its own."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __iter__(self) -> Any:
        return iter(self.inner) if isinstance(self.inner, Sampler) else iter(self.inner.permutation(SIZE).tolist())


def test_an_order_that_is_another_one_each_time_is_refused() -> None:
    own = torch.Generator().manual_seed(0)
    for order in (
        lambda epoch, generator: torch.randperm(SIZE, generator=own),
        Permuting(np.random.default_rng(0)),
        BatchSampler(Permuting(np.random.default_rng(0)), 3, drop_last=True),
    ):
        with pytest.raises(ConfigError, match=r"gave two orders for epoch 0.*draw it from the `generator`"):
            of_own(order)
    nested = [Permuting(RandomSampler(range(SIZE), generator=torch.Generator())) for _ in range(2)]
    assert of_own(nested[0]) == of_own(nested[1])


def test_an_order_that_raises_is_one_sentence_with_its_line() -> None:
    def order(epoch: int, generator: torch.Generator) -> Any:
        raise KeyError("frequency")

    with pytest.raises(ConfigError, match=r"raised KeyError: 'frequency' \(.*test_data_loading.py:\d+\) for epoch 0"):
        of_own(order)
    with pytest.raises(ConfigError, match=r"gave int64 \(5, 2\) for epoch 0; return indices from 0 to 9"):
        of_own(lambda epoch, generator: torch.arange(SIZE).reshape(5, 2))


def test_a_collate_that_makes_nothing_is_one_sentence() -> None:
    def collate(samples: Any) -> Any:
        return None if isinstance(samples, list) else samples

    def failing(samples: Any) -> Any:
        raise RuntimeError("no pad")

    for own, said in (
        (collate, "collate returned None for the samples"),
        (failing, "failing raised RuntimeError: no pad"),
    ):
        with pytest.raises(ConfigError, match=said):
            next(TrainLoader(Noisy(), Loading(BATCH, collate=own), seed=7).batches(at(0), epoch=0))


def test_epochs_of_unequal_length_tell_no_length_of_a_run() -> None:
    def shrinking(epoch: int, generator: torch.Generator) -> list[int]:
        return list(range(SIZE - 4 * epoch))

    assert [len(batch) for batch in of_own(shrinking, count=5)] == [4, 4, 2, 4, 2]
    with pytest.raises(ConfigError, match=r"gave 2 batches for epoch 1 and 3 for epoch 0.*max_steps"):
        of_own(shrinking, even=True)


def test_a_position_in_the_midst_of_a_batch_of_its_own_is_refused() -> None:
    with pytest.raises(ConfigError, match="at sample 1 of epoch 0, where no batch of the data's order ends"):
        of_own(by_length, sample=1)


def test_no_more_workers_are_started_than_there_are_batches() -> None:
    evaluation = EvaluationLoader(Noisy(), Loading(len(Noisy()) // 2 + 1, workers=5000))
    training = TrainLoader(Noisy(), Loading(len(Noisy()), workers=5000), seed=0)
    before = set(active_children())
    list(evaluation)
    assert len(set(active_children()) - before) == 2 and training.loading.workers == 1
