"""The data know themselves: a checkpoint is never used with other classes, or the same in another order, in silence."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from runner.data import Arrays
from runner.errors import CheckpointMismatch, CheckpointRefused, ConfigError, DataMissing
from runner.tracking.predictions import write_predictions
from runner.wiring.build.identity import compare_identities, facts_of, identity_of, transferred
from tests.own.points import NoisyPoints
from tests.support.command_line import TINY, cli, trained_in
from tests.support.comparing import entries_of, rows_in

FOLDERS = ("data=image_folder", "data.root=d", "data.image_size=16", "model=mlp", "device=cpu", "tracker=none")
STORED = {"samples": {"train": 20}, "facts": {"num_classes": 2}, "classes": ["circle", "square"]}


def draw(*classes: str, count: int = 10, below: Path = Path()) -> None:
    for number, name in enumerate(classes):
        for split in ("train", "test"):
            folder = below / "d" / split / name
            folder.mkdir(parents=True, exist_ok=True)
            for index in range(count):
                Image.fromarray(np.full((16, 16, 3), 80 * number + index, dtype=np.uint8)).save(folder / f"{index}.png")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a run on two folders of images, of which each test gets a copy."""
    folder = tmp_path_factory.mktemp("original")
    draw("circle", "square", below=folder)
    return trained_in(folder, *FOLDERS, "epochs=1", "name=x")


@pytest.fixture
def work(original: Path, work: Path) -> Path:
    """A copy of that directory."""
    shutil.copytree(original, work, dirs_exist_ok=True)
    return work


@pytest.mark.parametrize(
    "task",
    [
        ("resume=outputs/x", "epochs=2"),
        ("resume=outputs/x", "name=fork"),
        ("task=evaluate", "checkpoint_path=outputs/x/best.tar"),
        ("task=predict", "checkpoint_path=outputs/x/best.tar"),
    ],
)
def test_renamed_or_added_classes_are_refused_with_both_lists(work: Path, capsys: Any, task: Any) -> None:
    draw("triangle")
    before = sorted(work.rglob("*"))
    outcome = cli(capsys, *task)
    said = "2 classes in the file: circle, square; 3 in the data: circle, square, triangle;"
    assert outcome.code == 2 and said in outcome.err and "Traceback" not in outcome.err
    for split in ("train", "test"):
        (work / "d" / split / "triangle").rename(work / "moved" if split == "train" else work / "moved2")
        (work / "d" / split / "circle").rename(work / "d" / split / "zircle")
    outcome = cli(capsys, *task)
    assert outcome.code == 2 and "circle, square; 2 in the data: square, zircle;" in outcome.err
    assert [path for path in sorted(work.rglob("*")) if path.suffix == ".tar"] == [
        p for p in before if p.suffix == ".tar"
    ]
    assert cli(capsys, *task, "resume_allow=[data]").code == 0


def test_other_files_of_the_same_classes_are_one_line(work: Path, capsys: Any) -> None:
    ask = ("task=evaluate", "checkpoint_path=outputs/x/best.tar")
    assert cli(capsys, *ask).err == ""
    (work / "d/test/circle/0.png").rename(work / "d/test/circle/new.png")
    assert cli(capsys, *ask).err.count("\n") == 1
    (work / "d/test/circle/new.png").unlink()
    (work / "d/train/square/3.png").unlink()
    outcome = cli(capsys, "resume=outputs/x", "epochs=2")
    assert (
        outcome.code == 0
        and "the numbers of samples differ from the file: 18 -> 17 in train, 20 -> 19 in test" in outcome.out
    )
    assert cli(capsys, *ask).code == 0


def test_pictures_that_were_read_as_they_lie_are_told_to_be_turned_now(work: Path) -> None:
    own = entries_of(work / "outputs/x/last.tar")["data_identity"]
    before = {name: value for name, value in own.items() if name != "transform"}
    (said,) = compare_identities(before, own, Path("x.tar"), allowed=())
    assert "are turned upright now" in said
    assert compare_identities(own, own, Path("x.tar"), allowed=()) == []


def test_the_identity_stands_in_the_checkpoint_and_in_the_environment(work: Path) -> None:
    stored = entries_of(work / "outputs/x/last.tar")["data_identity"]
    assert stored["classes"] == ["circle", "square"]
    assert stored["samples"] == {"train": 18, "val": 2, "test": 20}
    assert stored["facts"] == {"in_channels": 3, "image_size": [16, 16], "in_features": 768, "num_classes": 2}
    assert json.loads((work / "outputs/x/environment.json").read_text())["data_identity"] == stored


def test_predictions_have_the_names_of_the_classes(work: Path, capsys: Any) -> None:
    assert cli(capsys, "task=predict", "checkpoint_path=outputs/x/best.tar", "output=p.csv").code == 0
    (first, *_) = rows_in(work / "p.csv")
    assert list(first) == ["index", "class", "class_name", "probability", "p_circle", "p_square"]
    assert first["class_name"] == ["circle", "square"][int(first["class"])]
    assert first["probability"] == first[f"p_{first['class_name']}"]
    assert cli(capsys, "task=predict", "checkpoint_path=outputs/x/best.tar", "output=p.npz").code == 0
    with np.load(work / "p.npz") as arrays:
        assert arrays["classes"].tolist() == ["circle", "square"]
        assert arrays["class_name"].tolist() == [arrays["classes"][number] for number in arrays["class"]]


def test_a_name_is_no_formula_in_a_table_and_stays_what_it_is_in_arrays(tmp_path: Path) -> None:
    outputs = {"class": torch.tensor([1, 0, 2]), "probabilities": torch.ones(3, 2)}
    for name in ("p.csv", "p.npz"):
        write_predictions(tmp_path / name, outputs, ["=cmd", "\udcff"])
    table = rows_in(tmp_path / "p.csv")
    assert list(table[0]) == ["index", "class", "class_name", "p_'=cmd", "p_\\udcff"]
    assert [row["class_name"] for row in table] == ["\\udcff", "'=cmd", ""]
    with np.load(tmp_path / "p.npz") as arrays:
        assert arrays["class_name"].tolist() == ["\udcff", "=cmd", ""]


def test_a_warm_start_from_other_classes_is_said_and_not_refused(work: Path, capsys: Any) -> None:
    draw("triangle")
    outcome = cli(capsys, *FOLDERS, "warm_start.path=outputs/x/best.tar", "epochs=1", "name=y")
    assert outcome.code == 0, outcome.err
    assert "warm start from other data: 2 classes in the file: circle, square; 3 in the data" in outcome.out


def test_limits_and_the_split_are_no_other_data(work: Path, capsys: Any) -> None:
    outcome = cli(capsys, "resume=outputs/x", "epochs=2", "debug.limit_eval=1", "resume_allow=[debug]")
    assert outcome.code == 0 and "the data have" not in outcome.out
    assert cli(capsys, "task=evaluate", "checkpoint_path=outputs/x/best.tar", "data.split=train").err == ""


def test_arrays_may_name_their_classes(tmp_path: Path) -> None:
    arrays = {"train_inputs": np.zeros((20, 4)), "train_targets": np.arange(20) % 2}
    np.savez(tmp_path / "a.npz", **arrays, classes=np.array(["no", "yes"]))
    torch.save(
        {**{key: torch.tensor(value) for key, value in arrays.items()}, "classes": ["no", "yes"]}, tmp_path / "a.pt"
    )
    for name in ("a.npz", "a.pt"):
        assert identity_of(Arrays(str(tmp_path / name), torch.load))["classes"] == ["no", "yes"]
    np.savez(tmp_path / "b.npz", **arrays, classes=np.array(["no"]))
    with pytest.raises(DataMissing, match="not a list of 2 names"):
        Arrays(str(tmp_path / "b.npz"), torch.load)


def named(**said: Any) -> Any:
    data: Any = NoisyPoints()
    data.identity = lambda: said
    return data


def test_what_own_data_say_of_themselves_is_kept_as_plain_values() -> None:
    data = named(classes=("a", "b"), vocabulary={"size": np.int64(7)})
    data.num_classes = np.int64(2)
    identity = identity_of(data)
    assert identity["classes"] == ["a", "b"] and identity["vocabulary"] == {"size": 7}
    assert type(identity["facts"]["num_classes"]) is type(facts_of(data)["num_classes"]) is int


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"classes": [1, 2]}, "`classes` = "),
        ({"samples": 3}, "other than samples and facts"),
        ({"when": np.zeros(3)}, "give plain values"),
    ],
)
def test_an_identity_that_is_none_is_one_sentence(said: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        identity_of(named(**said))


def test_a_fact_that_is_a_method_is_one_sentence() -> None:
    data: Any = NoisyPoints()
    data.num_classes = lambda: 2
    with pytest.raises(ConfigError, match=r"data: NoisyPoints\.num_classes is .* a function; give plain values"):
        facts_of(data)


def test_whatever_else_own_data_say_must_stay_the_same() -> None:
    stored = identity_of(named(vocabulary="abc"))
    assert compare_identities(stored, stored, Path("x.tar"), allowed=()) == []
    with pytest.raises(CheckpointMismatch, match="vocabulary is abc in the file and xyz in the data; use the"):
        compare_identities(stored, identity_of(named(vocabulary="xyz")), Path("x.tar"), allowed=())
    assert compare_identities(None, stored, Path("x.tar"), allowed=()) == []


def test_long_lists_name_the_first_that_differs() -> None:
    theirs, ours = [{**STORED, "classes": [str(n) for n in range(100)] + [last]} for last in ("a", "b")]
    assert "(number 100 is a there and b here)" in transferred(theirs, ours, Path("x.tar"))[0]


@pytest.mark.parametrize(
    "hostile",
    [
        3,
        {"classes": 3},
        {"classes": [["a"]]},
        {"samples": {"train": "many"}},
        {"samples": {"train": 10**5000}},
        {"facts": {"num_classes": 10**5000}},
        {"facts": {"num_classes": torch.ones(2)}},
        {1: 2},
        {"classes": None},
        {"deep": [[[[[[[[[[[[]]]]]]]]]]]]},
    ],
)
def test_what_a_file_says_is_refused_where_it_is_no_identity(hostile: Any) -> None:
    with pytest.raises(CheckpointRefused, match="`data_identity`"):
        compare_identities(hostile, STORED, Path("x.tar"), allowed=["data"])


def test_escapes_in_names_do_not_reach_the_terminal() -> None:
    with pytest.raises(CheckpointMismatch) as caught:
        compare_identities({**STORED, "classes": ["\x1b[2J", "\udcff"]}, STORED, Path("x.tar"), allowed=())
    assert "\x1b" not in str(caught.value) and str(caught.value).encode()


def test_a_run_of_before_goes_on_without_an_identity(work: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setattr("runner.run.opening.IDENTITY", "unknown")
    assert cli(capsys, *TINY, "name=old", "epochs=1").code == 0
    monkeypatch.undo()
    monkeypatch.chdir(work)
    assert "data_identity" not in entries_of(Path("outputs/old/last.tar"))
    assert cli(capsys, "resume=outputs/old", "epochs=2").code == 0
