"""Data with a test alone: for evaluation and prediction, by the facts of the training data; and several sets."""

import json
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image

from tests.support.command_line import MLP, TINY, cli
from tests.support.comparing import rows_in

POINTS = ("data=own", "data._target_=tests.own.splits.TestAlone")
E = "task=evaluate"
FAST = ("max_steps=2", "tracker=none", "device=cpu", "name=x", "batch_size=4")


def last(outcome: Any) -> dict[str, Any]:
    assert outcome.code == 0, outcome.err
    found: dict[str, Any] = json.loads(outcome.out.strip().splitlines()[-1])
    return found


def arrays(name: str, *splits: str, classes: int = 3) -> None:
    rng = numpy.random.default_rng(0)
    found = {}
    for split in splits:
        found[f"{split}_inputs"] = rng.normal(size=(12, 3)).astype("f4")
        found[f"{split}_targets"] = numpy.arange(12) % classes
    numpy.savez(name, **found)


def test_arrays_of_a_test_alone_are_evaluated_also_without_the_last_class(runs: Path, capsys: Any) -> None:
    arrays("a.npz", "train", "val", "test")
    whole = dict(numpy.load("a.npz"))
    numpy.savez("t.npz", **{name: whole[name] for name in whole if name.startswith("test")})
    arrays("few.npz", "test", classes=2)
    assert cli(capsys, *MLP, "data=arrays", "data.path=a.npz", *FAST).code == 0
    one = last(cli(capsys, E, "checkpoint_path=outputs/x"))
    assert last(cli(capsys, E, "checkpoint_path=outputs/x", "data.path=t.npz")) == one
    assert last(cli(capsys, E, "checkpoint_path=outputs/x", "data.path=few.npz"))["split"] == "test"
    written = last(cli(capsys, "task=predict", "checkpoint_path=outputs/x", "data.path=few.npz", "output=p.csv"))
    assert written["samples"] == 12 and list(rows_in(Path("p.csv"))[0])[-1] == "p_2"


def test_a_folder_with_new_test_images_alone_is_evaluated(runs: Path, capsys: Any) -> None:
    for folder in ("all/train", "new/test"):
        for name in ("a", "b"):
            Path(folder, name).mkdir(parents=True)
            for number in range(2):
                Image.new("RGB", (8, 8), "red").save(Path(folder, name, f"{number}.png"))
    words = (*MLP, "data=image_folder", "data.root=all", "data.image_size=8", *FAST)
    assert cli(capsys, *words).code == 0
    assert last(cli(capsys, E, "checkpoint_path=outputs/x", "data.root=new"))["split"] == "test"


def test_own_data_of_a_test_alone_are_evaluated_and_not_trained_on(runs: Path, capsys: Any) -> None:
    assert cli(capsys, *TINY, "epochs=1", "name=x").code == 0
    assert last(cli(capsys, E, "checkpoint_path=outputs/x", *POINTS, "resume_allow=[data]"))["split"] == "test"
    outcome = cli(capsys, *TINY, *POINTS[1:], "name=y")
    assert outcome.code == 2 and "TestAlone has no `train`, so a checkpoint can only be" in outcome.err


def test_a_split_that_there_is_not_is_refused_with_one_that_there_is(runs: Path, capsys: Any) -> None:
    assert cli(capsys, *TINY, "epochs=1", "name=x").code == 0
    words = (E, "checkpoint_path=outputs/x", *POINTS, "resume_allow=[data]", "data.split=val")
    outcome = cli(capsys, *words)
    assert outcome.code == 2 and "try data.split=test" in outcome.err


@pytest.mark.parametrize("named", [True, False])
def test_each_of_several_sets_has_a_file_of_its_own(runs: Path, capsys: Any, named: bool) -> None:
    assert (
        cli(
            capsys,
            *TINY,
            "data._target_=tests.own.splits.Several",
            "checkpoint.monitor=val/seen/loss",
            "epochs=1",
            "name=x",
        ).code
        == 0
    )
    said = last(
        cli(capsys, "task=predict", "checkpoint_path=outputs/x/last.tar", *(("output=p.csv",) if named else ()))
    )
    start = "p" if named else "outputs/x/predictions_last_test"
    assert said["output"] == {"near": f"{start}_near.csv", "far": f"{start}_far.csv"}
    assert (
        said["samples"]
        == {"near": 5, "far": 9}
        == {name: len(rows_in(Path(said["output"][name]))) for name in said["samples"]}
    )
