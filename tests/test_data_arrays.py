"""Arrays in a file as data: found, cut, checked, and never unpickled."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from runner.checkpoint.format import read_plain
from runner.data import Arrays
from runner.errors import DataMissing, RunnerError
from tests.support.command_line import cli
from tests.support.comparing import entries_of


def points(count: int, seed: int = 0) -> dict[str, Any]:
    """Return points of four numbers and the class, or the sum, of each."""
    inputs = np.random.default_rng(seed).normal(size=(count, 4))
    return {"inputs": inputs, "targets": (inputs.sum(1) > 0).astype(np.int32), "sums": inputs.sum(1, keepdims=True)}


def write(path: Path, **arrays: Any) -> Path:
    """Write a .npz or a .pt."""
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        torch.save({name: torch.as_tensor(value) for name, value in arrays.items()}, path)
    return path


def read(path: Path) -> Arrays:
    """Return the data of a file."""
    return Arrays(str(path), read_plain)


@pytest.mark.parametrize("ending", ["npz", "pt"])
def test_what_is_in_the_file_is_what_is_trained_on(tmp_path: Path, ending: str) -> None:
    one, other = points(20), points(6, seed=1)
    path = write(
        tmp_path / f"data.{ending}", train_inputs=one["inputs"], train_targets=one["targets"],
        val_inputs=other["inputs"], val_targets=other["targets"],
    )  # fmt: skip
    data = read(path)
    assert torch.equal(data.train.inputs, torch.tensor(one["inputs"]).float())
    assert torch.equal(data.val.targets, torch.tensor(other["targets"]).long()) and data.test is None
    assert (data.num_classes, data.in_features) == (2, 4) and not hasattr(data, "in_channels")


def test_a_missing_val_is_a_tenth_of_the_training_samples_always_the_same(tmp_path: Path) -> None:
    content = points(50)
    path = write(tmp_path / "data.npz", train_inputs=content["inputs"], train_targets=content["targets"])
    one, other = read(path), read(path)
    assert (len(one.train), len(one.val)) == (45, 5) and torch.equal(one.val.inputs, other.val.inputs)
    together = torch.cat([one.train.inputs, one.val.inputs])
    assert torch.equal(together.sort(0).values, torch.tensor(content["inputs"]).float().sort(0).values)


def test_images_of_bytes_stay_bytes_and_tell_their_size(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, 3, 20, 24), dtype=np.uint8)
    data = read(write(tmp_path / "i.npz", train_inputs=images, train_targets=np.arange(12) % 5))
    assert (data.in_channels, data.image_size, data.num_classes) == (3, (20, 24), 5)
    assert data.train.inputs.dtype is torch.uint8
    assert torch.equal(data.train[0][0].min() >= -1, torch.tensor(True))


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"train_inputs": np.zeros((3, 2))}, "only one of"),
        ({"x": np.zeros(3)}, "has no train_inputs"),
        ({"train_inputs": np.zeros((3, 2)), "train_targets": np.zeros(4)}, "the first numbers must be equal"),
        ({"train_inputs": np.zeros(3), "train_targets": np.zeros(3)}, "at least one dimension"),
        ({"train_inputs": np.zeros((3, 2)), "train_targets": np.array([0, -1, 1])}, "numbers from 0"),
        (
            {
                "train_inputs": np.zeros((3, 2)), "train_targets": np.zeros(3), "val_inputs": np.zeros((3, 4)),
                "val_targets": np.zeros(3),
            },
            "several shapes",
        ),
        ({"train_inputs": np.array([{}, {}], dtype=object), "train_targets": np.zeros(2)}, "plain arrays"),
        ({"train_inputs": np.zeros((1, 2)), "train_targets": np.zeros(1)}, "at least two"),
        ({"train_inputs": np.full((3, 2), np.nan), "train_targets": np.zeros(3)}, "train_inputs has values"),
        ({"train_inputs": np.zeros((3, 2)), "train_targets": np.full(3, np.inf)}, "train_targets has values"),
        (
            {"train_inputs": np.zeros((3, 2)), "train_targets": np.zeros(3), "valid_inputs": np.zeros((3, 2))},
            "a split called valid; the names are train, val, test",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said_in_one_sentence(tmp_path: Path, arrays: dict[str, Any], said: str) -> None:
    with pytest.raises(RunnerError, match=said) as caught:
        read(write(tmp_path / "data.npz", **arrays))
    assert "\n" not in str(caught.value)


def test_foreign_byte_orders_and_other_arrays_in_the_file_do_not_matter(tmp_path: Path) -> None:
    content = points(20)
    path = write(
        tmp_path / "data.npz", train_inputs=content["inputs"].astype(">f8"), train_targets=content["targets"],
        names=np.array(["no", "yes"]),
    )  # fmt: skip
    data = read(path)
    together = torch.cat([data.train.inputs, data.val.inputs])
    assert torch.equal(together.sort(0).values, torch.tensor(content["inputs"]).float().sort(0).values)


@pytest.mark.parametrize("damage", ["absent", "cut", "flipped"])
def test_a_damaged_pt_is_not_spoken_of_as_a_checkpoint_of_a_run(tmp_path: Path, damage: str) -> None:
    content = points(20)
    path = write(tmp_path / "data.pt", train_inputs=content["inputs"], train_targets=content["targets"])
    raw = bytearray(path.read_bytes())
    raw[raw.index(content["inputs"].tobytes())] ^= 1
    path.write_bytes(raw[:-30] if damage == "cut" else raw)
    if damage == "absent":
        path.unlink()
    with pytest.raises(DataMissing, match=r"data\.path") as caught:
        read(path)
    assert "checkpoint" not in str(caught.value) and "run" not in str(caught.value)


class Touching:
    """Makes a directory when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("name", ["absent.npz", "absent.pt", "text.npz", "text.pt", "code.pt"])
def test_a_file_that_is_no_data_is_refused_by_the_command_and_nothing_runs_or_is_made(
    work: Path, capsys: Any, name: str
) -> None:
    for text in ("text.npz", "text.pt"):
        Path(text).write_text("no arrays")
    torch.save({"train_inputs": Touching(work / "marker")}, "code.pt")
    outcome = cli(capsys, "data=arrays", f"data.path={name}", "model=mlp")
    assert outcome.code == 2 and name in outcome.err and "Traceback" not in outcome.err
    assert not Path("marker").exists() and not Path("outputs").exists()


def test_a_regression_on_arrays_learns_evaluates_and_predicts(work: Path, capsys: Any) -> None:
    content = points(400)
    write(Path("data.npz"), train_inputs=content["inputs"], train_targets=content["sums"])
    words = ("data=arrays", "data.path=data.npz", "learner=regression", "model=mlp", "model.hidden=[]", "tracker=csv")
    outcome = cli(capsys, *words, "optimizer=sgd", "epochs=20", "batch_size=20", "name=x")
    assert outcome.code == 0, outcome.err
    weights = entries_of(Path("outputs/x/best.tar"))["model_state_dict"]["layers.1.weight"]
    assert torch.allclose(weights, torch.ones(1, 4), atol=0.02)
    assert cli(capsys, "task=predict", "checkpoint_path=outputs/x/best.tar", "output=p.csv").code == 0
    assert Path("p.csv").read_text().splitlines()[0] == "index,output_0"


def test_grey_images_of_bytes_without_a_channel_are_images_too(tmp_path: Path) -> None:
    images, targets = np.full((20, 28, 28), 255, np.uint8), np.arange(20) % 2
    data = read(write(tmp_path / "grey.npz", train_inputs=images, train_targets=targets))
    inputs, _ = data.train[0]
    assert (data.in_channels, data.image_size) == (1, (28, 28))
    assert torch.equal(inputs, torch.ones(1, 28, 28))
