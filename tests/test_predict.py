"""`task=predict`: a row a sample, in the data set's order, in a file that was not there before."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

import runner
from runner.checkpoint.listing import run_directory_of
from runner.data import Digits
from runner.data.loaders.batches import Batch
from runner.errors import ConfigError
from runner.loop.predict import predict
from runner.tracking.predictions import write_predictions
from tests.own.learners import Outputs
from tests.support.command_line import Outcome, cli, trained_in
from tests.support.comparing import rows_in

POINTS = (
    "model=mlp", "model.hidden=[4]", "data=own", "data._target_=tests.own.points.NoisyPoints", "learner=own",
    "max_steps=2", "tracker=none",
)  # fmt: skip


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a run that is trained a little, of which each test gets a copy."""
    words = ("name=x", "max_steps=8", "data.augment=shift", "tracker=none")
    return trained_in(tmp_path_factory.mktemp("original"), *words)


@pytest.fixture
def work(original: Path, work: Path) -> Path:
    """A copy of that directory."""
    shutil.copytree(original, work, dirs_exist_ok=True)
    return work


def ask(capsys: Any, *words: str, checkpoint: str = "outputs/x/best.tar") -> Outcome:
    return cli(capsys, "task=predict", f"checkpoint_path={checkpoint}", *words)


def test_the_file_alone_is_enough_and_the_last_line_says_what_was_written(work: Path, capsys: Any) -> None:
    outcome = ask(capsys)
    assert outcome.code == 0, outcome.err
    said = json.loads(outcome.out.strip().splitlines()[-1])
    output = "outputs/x/predictions_best_test.csv"
    assert said == {"checkpoint": "outputs/x/best.tar", "split": "test", "samples": 360, "output": output}
    table = rows_in(work / output)
    assert list(table[0]) == ["index", "class", "probability", *(f"p_{k}" for k in range(10))]
    assert [int(row["index"]) for row in table] == list(range(360))


def test_the_numbers_are_those_of_the_model_in_eval_mode_in_the_order_of_the_data(work: Path, capsys: Any) -> None:
    assert ask(capsys, "output=p.npz", "batch_size=360").code == 0
    ask(capsys, "output=p.csv", "batch_size=360")
    with torch.no_grad():
        logits = runner.load("outputs/x/best.tar")(Digits().test.inputs)
    found = numpy.load(work / "p.npz")
    assert torch.equal(torch.from_numpy(found["probabilities"]), logits.softmax(1))
    assert torch.equal(torch.from_numpy(found["class"]), logits.argmax(1))
    texts = [[numpy.float32(row[f"p_{k}"]) for k in range(10)] for row in rows_in(work / "p.csv")]
    assert (numpy.array(texts) == found["probabilities"]).all(), "the text lost digits"


@pytest.mark.parametrize("words", [["data.workers=2"], ["batch_size=7"], ["batch_size=7", "data.workers=1"]])
def test_neither_workers_nor_the_batch_size_change_order_or_classes(work: Path, capsys: Any, words: list[str]) -> None:
    for name, more in (("one", []), ("other", words)):
        assert ask(capsys, "data.split=train", f"output={name}.npz", *more).code == 0
    one, other = numpy.load(work / "one.npz"), numpy.load(work / "other.npz")
    assert (one["class"] == other["class"]).all() and (one["index"] == other["index"]).all()
    assert numpy.allclose(one["probabilities"], other["probabilities"], atol=1e-6)


def test_augmentation_is_off_unless_it_is_asked_for(work: Path, capsys: Any) -> None:
    ask(capsys, "data.split=train", "output=off.npz", "batch_size=1257")
    ask(capsys, "data.split=train", "output=on.npz", "batch_size=1257", "data.augment=shift")
    with torch.no_grad():
        logits = runner.load("outputs/x/best.tar")(Digits().train.inputs)
    assert torch.equal(torch.from_numpy(numpy.load(work / "off.npz")["probabilities"]), logits.softmax(1))
    assert not torch.equal(torch.from_numpy(numpy.load(work / "on.npz")["probabilities"]), logits.softmax(1))


@pytest.mark.parametrize(
    ("word", "said"),
    [("output=p.txt", ".csv, .npz, .jsonl"), ("output=taken.csv", "never overwritten"), ("output=p", "''")],
)
def test_a_wrong_output_is_refused_before_anything_is_computed(work: Path, capsys: Any, word: str, said: str) -> None:
    (work / "taken.csv").write_text("mine")
    before = sorted(work.rglob("*"))
    outcome = ask(capsys, word)
    assert outcome.code == 2 and said in outcome.err
    assert sorted(work.rglob("*")) == before and (work / "taken.csv").read_text() == "mine"


def test_a_second_prediction_does_not_overwrite_the_first(work: Path, capsys: Any) -> None:
    assert ask(capsys).code == 0
    assert ask(capsys).code == 2
    assert ask(capsys, checkpoint="outputs/x/last.tar").code == 0
    assert sorted(path.name for path in (work / "outputs/x").glob("*.csv")) == [
        "predictions_best_test.csv",
        "predictions_last_test.csv",
    ]


def test_a_file_from_elsewhere_leaves_its_predictions_under_outputs(work: Path, capsys: Any) -> None:
    (work / "outputs/x/best.tar").rename(work / "sent.tar")
    assert ask(capsys, checkpoint="sent.tar").code == 0
    assert (work / "outputs/predictions_sent_test.csv").is_file()


def test_a_learner_without_the_method_is_refused_by_its_name(work: Path, capsys: Any) -> None:
    gan = ("experiment=gan_digits", "data=synthetic", "data.size=24", "data.shape=[1,16,16]", "max_steps=1")
    assert cli(capsys, *gan, "name=g", "tracker=none").code == 0
    outcome = ask(capsys, checkpoint="outputs/g/last.tar")
    assert outcome.code == 2 and "Gan has no method `prediction(models, batch)`" in outcome.err


def test_a_learner_of_ones_own_names_its_outputs(work: Path, capsys: Any) -> None:
    assert cli(capsys, *POINTS, "learner._target_=tests.own.learners.Outputs", "name=o").code == 0
    outcome = ask(capsys, checkpoint="outputs/o/last.tar")
    assert outcome.code == 0, outcome.err
    table = rows_in(work / "outputs/o/predictions_last_val.csv")
    assert list(table[0]) == ["index", "output_0", "output_1"] and len(table) == 6


def test_outputs_that_are_not_one_row_a_sample_are_refused() -> None:
    class Wrong(Outputs):
        def prediction(self, models: Any, batch: Any) -> Any:
            return {"output": torch.zeros(3)}

    with pytest.raises(ConfigError, match=r"returned 'output' as \(3,\) for 2 samples"):
        predict({}, Wrong(), [Batch((torch.zeros(2),), (2,))], torch.device("cpu"))  # type: ignore[arg-type]


def test_half_precision_and_further_dimensions_become_columns(tmp_path: Path) -> None:
    halves = torch.tensor([[[0.5, 1.0], [2.0, 4.0]]], dtype=torch.bfloat16)
    write_predictions(tmp_path / "p.csv", {"map": halves, "sure": torch.tensor([True])})
    (row,) = rows_in(tmp_path / "p.csv")
    assert row == {"index": "0", "map_0_0": "0.5", "map_0_1": "1.0", "map_1_0": "2.0", "map_1_1": "4.0", "sure": "True"}


def test_a_checkpoint_knows_its_run_directory() -> None:
    assert run_directory_of(Path("outputs/x/best.tar")) == Path("outputs/x")
    assert run_directory_of(Path("outputs/x/checkpoints/step_0000000001.tar")) == Path("outputs/x")


def test_the_moving_average_is_what_predicts_where_there_is_one(work: Path, capsys: Any) -> None:
    assert cli(capsys, "name=e", "max_steps=8", "ema.decay=0.9", "tracker=none").code == 0
    entries = torch.load(work / "outputs/e/best.tar", weights_only=True)
    outcome = cli(capsys, "task=evaluate", "checkpoint_path=outputs/e/best.tar", "data.split=val")
    assert json.loads(outcome.out.strip().splitlines()[-1])["loss"] == entries["metrics"]["val/loss"]
