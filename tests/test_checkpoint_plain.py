import datetime
import enum
import io
import zipfile
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from runner.checkpoint.plain import plain_copy
from runner.checkpoint.reader.pickle_machine import Unreasonable
from runner.checkpoint.reader.structure import Structure, read_structure
from runner.checkpoint.reader.tree import MOST_LEVELS
from runner.errors import Unsavable

TENSOR = torch.ones(2)


def structure(value: Any) -> Structure:
    """Return what a reader finds of a value that torch saved."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    with zipfile.ZipFile(buffer) as archive:
        return read_structure(archive.read("archive/data.pkl"), len(archive.namelist()))


class Colour(enum.Enum):
    red = 1


class Name(str):
    pass


@dataclass
class Point:
    x: int = 0


Pair = namedtuple("Pair", "a b")


@pytest.mark.parametrize(
    "value",
    [
        np.float64(0.5),
        np.int64(3),
        np.bool_(True),
        np.zeros(2),
        Path("x"),
        Colour.red,
        datetime.datetime(2026, 1, 1),
        defaultdict(int),
        deque([1]),
        Pair(1, 2),
        Point(),
        Name("x"),
        torch.__version__,
        frozenset([1]),
        lambda: None,
        torch.nn.Linear(1, 1),
        object(),
        int,
        1j,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_not_plain_is_refused_with_its_key_path(value: Any) -> None:
    state = {"metrics": {"val": [0, {"best": value}]}}
    with pytest.raises(Unsavable) as caught:
        plain_copy(state, "model_state_dict")
    assert str(caught.value).startswith("model_state_dict.metrics.val[1].best is a ")
    assert type(value).__qualname__ in str(caught.value)


def test_a_key_that_is_not_plain_is_refused() -> None:
    with pytest.raises(Unsavable, match=r"state \(key np.int64\(3\)\) is a numpy.int64"):
        plain_copy({np.int64(3): 1}, "state")


def nested(levels: int) -> list[Any]:
    """Return lists in a list, with a number at the bottom."""
    return [nested(levels - 1)] if levels > 1 else [1]


def test_what_is_nested_as_deep_as_readers_go_is_written_and_nothing_deeper() -> None:
    assert structure({"entry": plain_copy(nested(MOST_LEVELS - 1), "entry")})
    with pytest.raises(Unreasonable, match="nested too deeply"):
        structure({"entry": nested(MOST_LEVELS)})
    endless: list[Any] = []
    endless.append(endless)
    for value in (nested(MOST_LEVELS), endless):
        with pytest.raises(Unsavable, match="nested deeper than 64 levels"):
            plain_copy(value, "entry")


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_tensors_without_values_of_their_own_are_refused_with_their_key_path() -> None:
    nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
    for value in (torch.empty(2, device="meta"), nested, torch.empty(2, dtype=torch.uint4)):
        with pytest.raises(Unsavable, match=r"state\.odd is a .* tensor, whose values cannot be stored"):
            plain_copy({"odd": value}, "state")


@pytest.mark.parametrize("value", [{TENSOR}, {TENSOR: 1}, {(TENSOR, 1): 1}], ids=["element", "key", "pair"])
def test_tensors_where_no_reader_looks_for_them_are_refused(value: Any) -> None:
    with pytest.raises(Unsavable, match=r"state\.odd has a tensor as a key or in a set"):
        plain_copy({"odd": value}, "state")


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        2**80,
        0.5,
        float("inf"),
        "text",
        b"bytes",
        [1, [2]],
        (1, (2,)),
        {1, 2},
        {"a": {0: 1}},
        OrderedDict(a=1),
        Counter("aab"),
        torch.Size([2, 3]),
        torch.float16,
        torch.device("cpu"),
    ],
    ids=repr,
)
def test_plain_values_come_back_with_their_type(value: Any) -> None:
    buffer = io.BytesIO()
    torch.save(plain_copy(value, "state"), buffer)
    buffer.seek(0)
    found = torch.load(buffer, weights_only=True)
    assert found == value and type(found) is type(value)


def test_containers_are_copied() -> None:
    state = {"a": [1], "b": {"c": {2}}}
    copy = plain_copy(state, "state")
    state["a"].append(2)
    assert copy == {"a": [1], "b": {"c": {2}}}


def test_a_small_view_is_cut_out_of_its_storage() -> None:
    large = torch.arange(100_000.0)
    copy = plain_copy(large[10:20], "state")
    assert torch.equal(copy, large[10:20])
    assert copy.untyped_storage().nbytes() == 40


def test_an_expanded_tensor_is_written_out_in_full() -> None:
    copy = plain_copy(torch.ones(1).expand(1000), "state")
    assert torch.equal(copy, torch.ones(1000))
    assert structure(copy)


def test_an_expanded_view_of_a_large_storage_is_written_out_in_full() -> None:
    copy = plain_copy(torch.arange(500.0)[:1].expand(100), "state")
    assert torch.equal(copy, torch.zeros(100))
    assert structure(copy)


def test_a_tensor_that_fills_its_storage_is_not_copied() -> None:
    whole = torch.ones(10)
    assert plain_copy(whole, "state").data_ptr() == whole.data_ptr()


def test_tensors_that_share_a_storage_still_share_it() -> None:
    tied = torch.ones(4)
    copy = plain_copy({"a": tied, "b": tied}, "state")
    assert copy["a"].data_ptr() == copy["b"].data_ptr()


def test_parameters_become_detached_tensors() -> None:
    copy = plain_copy(torch.nn.Parameter(torch.ones(2)), "state")
    assert type(copy) is torch.Tensor and not copy.requires_grad


def test_the_version_numbers_of_a_module_are_kept() -> None:
    state = torch.nn.BatchNorm1d(2).state_dict()
    copy = plain_copy(state, "state")
    assert copy._metadata == state._metadata and copy._metadata[""]["version"] == 2


def test_sparse_and_scalar_and_empty_tensors_are_kept() -> None:
    for value in (torch.eye(3).to_sparse(), torch.tensor(2.0), torch.empty(0, 3)):
        copy = plain_copy(value, "state")
        assert copy.shape == value.shape and torch.equal(copy.to_dense(), value.to_dense())


def test_a_tensor_larger_than_its_storage_is_found_at_its_place() -> None:
    giant = torch.zeros(1).expand(1 << 40)
    with pytest.raises(Unreasonable, match=r"the file\.a\[1\]\.b claims more elements than the file stores"):
        structure({"a": [torch.ones(3), {"b": giant}]})
    assert structure({"a": (torch.ones(3), 4, "x", {1})})


def test_a_structure_without_end_or_bottom_is_not_believed() -> None:
    bomb: list[Any] = [torch.ones(1)]
    for _ in range(40):
        bomb = [bomb, bomb]
    with pytest.raises(Unreasonable, match="repeats the same"):
        structure(bomb)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (10**700, "integer of 2326 bits"),
        (b"", "empty bytes"),
        ({(1, (2, 3)): 4}, "cannot be read again"),
        ({tuple(range(9)): 4}, "cannot be read again"),
    ],
    ids=["number", "bytes", "nested key", "long key"],
)
def test_what_could_be_written_and_not_be_read_is_refused(value: Any, says: str) -> None:
    with pytest.raises(Unsavable, match=says):
        plain_copy({"a": value}, "state")


@pytest.mark.parametrize("value", [10**600, -(10**600), b"\0", {(1, 2): 3}, {torch.float16: 1, torch.Size([1]): 2}])
def test_what_is_not_refused_is_read_by_torch_too(value: Any) -> None:
    buffer = io.BytesIO()
    torch.save(plain_copy(value, "state"), buffer)
    buffer.seek(0)
    assert torch.load(buffer, weights_only=True) == value and structure(value)
