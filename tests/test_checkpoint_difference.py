"""Two states, compared to the last bit, and named to the last key."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from runner.checkpoint.difference import differences, first_departure
from runner.checkpoint.listing import checkpoint_path
from tests.support.checkpoints import small_entries, write_entries

STATE = {"a": torch.tensor([1.0, math.nan]), "b": [1, {"c": (2.0, None)}], "rng": torch.zeros(3, dtype=torch.uint8)}


def test_a_state_is_equal_to_its_copy_also_where_it_is_not_a_number() -> None:
    assert list(differences(STATE, {**STATE, "a": STATE["a"].clone()})) == []
    assert list(differences(math.nan, math.nan)) == []


@pytest.mark.parametrize(
    ("change", "place", "how"),
    [
        ({"a": torch.tensor([1.5, math.nan])}, "a", "1 of 2 elements"),
        ({"a": torch.tensor([1.0, 2.0])}, "a", "1 of 2 elements"),
        ({"a": torch.tensor([1.0])}, "a", r"float32 \(2,\) -> float32 \(1,\)"),
        ({"a": torch.tensor([1.0, math.nan]).double()}, "a", "float64"),
        ({"b": [1, {"c": (2.0, 0)}]}, "b[1].c[1]", "None -> 0"),
        ({"b": [1, {"c": (3.0, None)}]}, "b[1].c[0]", "2.0 -> 3.0"),
        ({"b": [1]}, "b", "2 and 1 elements"),
        ({"d": 1}, "d", "only in the second"),
    ],
)
def test_a_difference_is_named_by_its_key_path(change: dict[str, Any], place: str, how: str) -> None:
    (found,) = differences(STATE, {**STATE, **change})
    assert found.place == place and pytest.importorskip("re").search(how, found.how), found


def test_the_sign_of_zero_is_a_bit_too() -> None:
    assert list(differences(torch.zeros(1), -torch.zeros(1))) != []
    assert list(differences(0.0, -0.0)) != []


@pytest.mark.filterwarnings("ignore:Sparse:UserWarning", "ignore:torch.quantize_per_tensor", "ignore:TypedStorage")
@pytest.mark.parametrize(
    "make",
    [
        torch.Tensor.to_sparse,
        torch.Tensor.to_sparse_csr,
        torch.Tensor.to_sparse_csc,
        lambda dense: torch.quantize_per_tensor(dense, 0.5, 1, torch.qint8),
        lambda dense: torch.complex(dense, dense).conj(),
    ],
    ids=["coo", "csr", "csc", "quantized", "conjugated"],
)
def test_tensors_that_are_not_dense_are_compared_by_what_is_stored(
    make: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    one, other = torch.eye(3), torch.eye(3)
    assert list(differences(make(one), make(other))) == []
    other[1, 2] = 1
    assert len(list(differences(make(one), make(other)))) == 1


def test_of_elements_that_are_not_numbers_in_both_nothing_is_said() -> None:
    one, other = torch.tensor([math.nan, 1.0, 2.0]), torch.tensor([math.nan, 1.5, 2.0])
    assert next(differences(one, other)).how == "1 of 3 elements, by up to 0.5"


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Path]:
    """A function that makes a run directory of two checkpoints, with the second one's entries changed."""

    def make(name: str, row: str = "2,0.5", **changes: Any) -> Path:
        for step, more in ((1, {}), (2, changes)):
            path = checkpoint_path(tmp_path / name, step)
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "wb") as file:
                write_entries(file, small_entries(global_step=step, **more))
        (tmp_path / name / "metrics.csv").write_text(f"step,train/loss,seconds\n1,0.5,{name}\n{row},{name}\n")
        return tmp_path / name

    return make


def test_equal_runs_have_no_departure(run: Callable[..., Path]) -> None:
    assert first_departure(run("one"), run("other")) is None


def test_times_and_descriptions_are_exempt_and_weights_of_their_names_are_not(run: Callable[..., Path]) -> None:
    one = {"created": "now", "progress_state_dict": {"seconds": 1.0, "epoch": 1}}
    other = {"created": "then", "progress_state_dict": {"seconds": 2.0, "epoch": 1}}
    assert first_departure(run("one", **one), run("other", **other)) is None
    assert [found.place for found in differences({"config": torch.ones(1)}, {"config": torch.zeros(1)})] == ["config"]


def test_the_first_step_and_the_parts_before_the_rest_are_named(run: Callable[..., Path]) -> None:
    one, other = run("one", rng_state_dict={"rank_0": 0}), run("other", loss=9.0, rng_state_dict={"rank_0": 1})
    departure = first_departure(one, other)
    assert departure is not None and departure.step == 2
    assert departure.parts == ["rng", "loss"]


def test_rows_of_metrics_are_compared_too(run: Callable[..., Path]) -> None:
    departure = first_departure(run("one"), run("other", row="2,0.6"))
    assert departure is not None and departure.parts == ["metrics"] and departure.step == 2
    assert "metrics.csv" in str(departure.differences[0])


def test_the_bits_of_every_kind_of_tensor_are_compared() -> None:
    for dtype in (torch.bool, torch.int8, torch.bfloat16, torch.complex64):
        one, other = torch.zeros((), dtype=dtype), torch.ones((), dtype=dtype)
        assert list(differences(one, one.clone())) == []
        assert next(differences(one, other)).how == "1 of 1 elements, by up to 1"
