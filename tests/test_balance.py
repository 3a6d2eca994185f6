"""`data.balance` and `data.drop_last`: what an epoch consists of, exact over a resume."""

from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from runner.data.balance import Balanced, balanced
from runner.data.loaders.order import Order
from runner.errors import ConfigError
from tests.support.command_line import MLP, TINY, cli
from tests.support.comparing import difference, entries_of

TARGETS = torch.tensor([0] * 2 + [1] * 9 + [3] * 6)


def drawn(seed: int) -> torch.Tensor:
    return Balanced(TARGETS)(0, torch.Generator().manual_seed(seed))


def test_a_balanced_epoch_has_as_many_samples_equally_many_of_each_class_and_each_evenly_often() -> None:
    indices = drawn(1)
    counts = torch.bincount(TARGETS[indices], minlength=4).tolist()
    assert len(indices) == len(TARGETS) and counts[2] == 0 and sorted(counts)[1:] == [5, 6, 6]
    rare, frequent = (torch.bincount(indices, minlength=17)[number == TARGETS] for number in (0, 1))
    assert rare.max() - rare.min() <= 1 and frequent.max() == 1


def test_a_balanced_order_follows_from_its_generator() -> None:
    assert torch.equal(drawn(1), drawn(1)) and not torch.equal(drawn(1), drawn(2))


def test_a_class_more_than_there_are_samples_of_each_is_no_error() -> None:
    assert sorted(Balanced(torch.arange(3))(0, torch.Generator()).tolist()) == [0, 1, 2]


@pytest.mark.parametrize(("balance", "targets"), [("class", TARGETS), ("classes", torch.rand(3))])
def test_what_cannot_be_balanced_is_refused(balance: str, targets: torch.Tensor) -> None:
    with pytest.raises(ConfigError, match=f"data.balance={balance} is"):
        balanced(balance, targets)


def test_a_short_last_batch_is_left_out_unless_it_is_the_only_one() -> None:
    def sizes(size: int, sample: int = 0, own: Any = None) -> list[int]:
        order = Order(size, 4, 0, own, drop_last=True)
        found = [len(batch) for batch in order.batches(0, sample=sample)]
        assert order.steps(0, sample) == len(found)
        return found

    assert (sizes(10), sizes(10, 4), sizes(10, 8), sizes(8), sizes(3)) == ([4, 4], [4], [2], [4, 4], [3])
    assert sizes(3, own=lambda epoch, generator: [0] * 9) == [4, 4]
    assert sizes(3, own=lambda epoch, generator: [[0, 1], [2]]) == [2, 1]


@pytest.mark.parametrize("more", [("data.drop_last=true",), ("data.drop_last=true", "data.workers=2")])
def test_a_run_without_last_batches_has_fewer_steps_and_resumes_bit_for_bit(
    runs: Path, capsys: Any, more: tuple[str, ...]
) -> None:
    words = (*TINY, *more, "checkpoint=every_n_steps", "checkpoint.every_steps=1", "checkpoint.keep_last=9")
    assert cli(capsys, *words, "name=x").code == 0
    assert entries_of(runs / "x/last.tar")["global_step"] == 6  # 20 samples, 8 a batch, 3 epochs
    for step in (2, 3):
        assert cli(capsys, f"resume={runs}/x/checkpoints/step_000000000{step}.tar", f"name=y{step}").code == 0
        assert difference(*(entries_of(runs / name / "last.tar") for name in ("x", f"y{step}"))) is None


def test_a_balanced_run_of_arrays_resumes_bit_for_bit(runs: Path, capsys: Any) -> None:
    inputs, targets = numpy.random.default_rng(0).normal(size=(17, 3)).astype("f4"), TARGETS.numpy()
    numpy.savez("a.npz", train_inputs=inputs, train_targets=targets, val_inputs=inputs, val_targets=targets)
    words = (*MLP, "device=cpu", "data=arrays", "data.path=a.npz", "data.balance=classes", "batch_size=4", "epochs=2",
             "checkpoint=every_n_steps", "checkpoint.every_steps=3", "checkpoint.keep_last=9")  # fmt: skip
    assert cli(capsys, *words, "name=x").code == 0
    assert cli(capsys, f"resume={runs}/x/checkpoints/step_0000000003.tar", "name=y").code == 0
    assert difference(*(entries_of(runs / name / "last.tar") for name in ("x", "y"))) is None
    outcome = cli(capsys, "task=evaluate", f"checkpoint_path={runs}/x", "data.balance=none", "data.split=val")
    assert outcome.code == 0, outcome.err


@pytest.mark.parametrize("data", ["digits", "synthetic"])
def test_shipped_classification_data_balance(runs: Path, capsys: Any, data: str) -> None:
    words = (*MLP, f"data={data}", "data.balance=classes", "debug=limit", "max_steps=2", "tracker=none", "device=cpu")
    outcome = cli(capsys, *words)
    assert outcome.code == 0, outcome.err


def test_an_older_file_without_these_keys_resumes_also_where_its_data_are_named(runs: Path, capsys: Any) -> None:
    words = (*MLP, "data=digits", "debug=limit", "max_steps=2", "tracker=none", "device=cpu")
    assert cli(capsys, *words, "name=x").code == 0
    entries = entries_of(runs / "x/last.tar")
    lines = [
        line for line in entries["config"].splitlines() if line.strip() not in ("drop_last: false", "balance: none")
    ]
    torch.save({**entries, "config": "\n".join(lines)}, "old.tar")
    for name, more in (("a", ()), ("b", ("data=digits",))):
        outcome = cli(capsys, "resume=old.tar", f"name={name}", "max_steps=4", *more)
        assert outcome.code == 0, outcome.err
    assert difference(*(entries_of(runs / name / "last.tar") for name in ("a", "b"))) is None
