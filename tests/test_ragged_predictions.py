"""Predictions with an entry of its own form per sample, in files without pickles."""

import json
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from runner.data.loaders.batches import Batch
from runner.errors import ConfigError
from runner.loop.predict import predict
from runner.tracking.predictions import write_predictions
from tests.own.learners import Outputs
from tests.support.command_line import TINY, cli
from tests.support.comparing import rows_in

BOXES = [torch.zeros(0, 2), torch.tensor([[0.1, 2.0]]), torch.arange(4.0).reshape(2, 2)]
SAID = [{"count": number, "name": name} for number, name in enumerate(["", "a", "=b"])]


def test_tensors_of_several_lengths_come_back_from_an_npz_without_pickles(tmp_path: Path) -> None:
    write_predictions(tmp_path / "p.npz", {"boxes": BOXES, "said": SAID})
    with numpy.load(tmp_path / "p.npz", allow_pickle=False) as found:
        values, offsets, shapes = (found[f"boxes_{part}"] for part in ("values", "offsets", "shapes"))
        for number, box in enumerate(BOXES):
            piece = values[offsets[number] : offsets[number + 1]].reshape(shapes[number])
            assert torch.equal(torch.from_numpy(piece), box)
        assert found["said_count"].tolist() == [0, 1, 2] and found["said_name"].tolist() == ["", "a", "=b"]


def test_a_jsonl_has_an_object_per_sample(tmp_path: Path) -> None:
    outputs = {"class": torch.tensor([1, 0, 1]), "boxes": BOXES, "said": SAID, "free": [[SAID[0], None], 3, "x"]}
    write_predictions(tmp_path / "p.jsonl", outputs, ["cat", "dog"])
    rows = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert [row["index"] for row in rows] == [0, 1, 2] and rows[0]["class_name"] == "dog"
    assert rows[0]["free"] == [SAID[0], None] and rows[2]["said"] == SAID[2] and rows[0]["boxes"] == []
    assert torch.equal(torch.tensor(rows[1]["boxes"]), BOXES[1])


def test_strings_and_numbers_are_columns_of_a_csv_and_no_formulas(tmp_path: Path) -> None:
    write_predictions(tmp_path / "p.csv", {"name": ["a", "=b"], "count": [1, 2]})
    assert rows_in(tmp_path / "p.csv")[1] == {"index": "1", "name": "'=b", "count": "2"}


@pytest.mark.parametrize(("ending", "entries"), [("csv", BOXES), ("npz", [1, "x", None])])
def test_a_file_that_cannot_hold_the_entries_is_refused_and_not_written(
    tmp_path: Path, ending: str, entries: Any
) -> None:
    with pytest.raises(ConfigError, match=rf"a \.{ending} cannot hold the output 'boxes'.*output=.*p\.jsonl"):
        write_predictions(tmp_path / f"p.{ending}", {"boxes": entries})
    assert not list(tmp_path.iterdir())


def test_two_arrays_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="two arrays of one name"):
        write_predictions(tmp_path / "p.npz", {"boxes": BOXES, "boxes_values": torch.zeros(3)})


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([{"x": [1]}], r"'x' as list for 2 samples; return a row per sample, or a list"),
        ([{"x": [1, 2]}, {"x": torch.zeros(2)}], r"'x' as \(2,\), and as list for another batch"),
        ([{"x": torch.zeros(2, 3)}, {"x": torch.zeros(2, 4)}], "return a list, without padding"),
        ([{"x": [{1}, 2]}], "with a set; give tensors, strings"),
    ],
)
def test_answers_that_make_no_whole_are_refused(answers: list[Any], said: str) -> None:
    class Answering(Outputs):
        def prediction(self, models: Any, batch: Any) -> Any:
            return answers[int(batch[0])]

    loader: Any = [Batch((torch.full((2,), number),), (2,)) for number in range(len(answers))]
    with pytest.raises(ConfigError, match=said):
        predict({}, Answering(), loader, torch.device("cpu"))


def test_a_checkpoint_predicts_entries_in_the_order_of_the_data(runs: Path, capsys: Any) -> None:
    assert cli(capsys, *TINY[:6], "learner._target_=tests.own.learners.Boxes", "max_steps=1", "name=x").code == 0
    for size in (1, 4):
        words = ("task=predict", "checkpoint_path=outputs/x/last.tar", "data.split=train")
        outcome = cli(capsys, *words, f"batch_size={size}", f"output={size}.jsonl")
        assert outcome.code == 0, outcome.err
    one, other = ([json.loads(line) for line in Path(f"{size}.jsonl").read_text().splitlines()] for size in (1, 4))
    assert len(one) == 20
    assert [(row["boxes"], row["said"]) for row in one] == [(row["boxes"], row["said"]) for row in other]
    refused = cli(capsys, "task=predict", "checkpoint_path=outputs/x/last.tar", "output=p.csv")
    assert refused.code == 2 and "use output=p.jsonl" in refused.err and not Path("p.csv").exists()
