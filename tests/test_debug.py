"""`debug.*`: less data and watching eyes, and still a run that goes on exactly."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import Subset, TensorDataset

import runner
from runner.data.memory import InMemory
from runner.data.selection import selection
from tests.own.points import Points
from tests.support.command_line import TINY, cli
from tests.support.comparing import assert_same_run, entries_of, rows_of

pytestmark = pytest.mark.usefixtures("runs")


def images(count: int = 50) -> InMemory:
    return InMemory(torch.randn(count, 1, 8, 8), torch.arange(count), augment="shift")


def test_a_selection_is_always_the_same_and_not_just_the_beginning() -> None:
    one, other = selection(images(), 20), selection(images(), 20)
    labels = [int(one[i][1]) for i in range(20)]
    assert labels == [int(other[i][1]) for i in range(20)] == sorted(labels)
    assert labels != list(range(20)) and len(set(labels)) == 20


def test_a_selected_sample_is_augmented_as_in_the_whole_set() -> None:
    whole = images()
    inputs, labels = selection(whole, 20).fetch(torch.arange(20), seed=1, epoch=2)
    expected, _ = whole.fetch(labels, seed=1, epoch=2)
    assert torch.equal(inputs, expected)


@pytest.mark.parametrize("dataset", [Points(9), Subset(Points(12), range(9)), TensorDataset(torch.arange(9))])
def test_every_kind_of_data_set_can_be_selected_from(dataset: Any) -> None:
    chosen = selection(dataset, 4)
    assert len(chosen) == 4
    whole = [float(dataset[i][-1]) for i in range(9)]
    assert all(float(chosen[i][-1]) in whole for i in range(4))
    assert hasattr(chosen, "__getitems__") == hasattr(dataset, "__getitems__")
    if hasattr(chosen, "__getitems__"):
        assert len(chosen.__getitems__([0, 2])) == 2


def test_a_selection_of_more_than_there_is_is_the_data_set_itself() -> None:
    dataset = images()
    assert selection(dataset, 50) is dataset


@pytest.mark.slow
def test_a_run_with_limited_data_and_a_profile_resumes_exactly(runs: Path, capsys: Any, monkeypatch: Any) -> None:
    words = (*TINY, "debug.limit_train=2", "debug.limit_eval=1", "debug.profile=2", "epochs=4")
    monkeypatch.setenv("STOP_AT", "never")
    assert cli(capsys, *words, "name=whole").code == 0
    assert entries_of(runs / "whole/last.tar")["global_step"] == 8, "four epochs of two batches"
    monkeypatch.setenv("STOP_AT", "4")
    assert cli(capsys, *words, "name=x").code == 75
    monkeypatch.setenv("STOP_AT", "never")
    assert cli(capsys, "resume=outputs/x", "trust=[tests]").code == 0
    assert_same_run(runs / "whole", runs / "x")
    traces = sorted(path.name for path in (runs / "x/profile").glob("*.json"))
    assert traces == ["from_step_0000000001.json", "from_step_0000000006.json"]


@pytest.mark.parametrize("word", ["debug.limit_train=3", "debug.limit_eval=2", "debug=none", "debug=overfit"])
def test_the_data_of_a_run_cannot_be_limited_otherwise_later(runs: Path, capsys: Any, word: str) -> None:
    assert cli(capsys, *TINY, "debug.limit_train=2", "debug.limit_eval=1", "name=x").code == 0
    outcome = cli(capsys, "resume=outputs/x", "epochs=4", word)
    assert outcome.code == 2 and "debug.limit_" in outcome.err and "resume_allow" in outcome.err


def test_profile_and_anomaly_are_free_to_change(runs: Path, capsys: Any) -> None:
    assert cli(capsys, *TINY, "name=x").code == 0
    outcome = cli(capsys, "resume=outputs/x", "epochs=4", "debug.profile=1", "debug.anomaly=true", "trust=[tests]")
    assert outcome.code == 0, outcome.err
    assert not torch.is_anomaly_enabled()
    (trace,) = (runs / "x/profile").glob("*.json")
    assert json.loads(trace.read_text())["traceEvents"]


def test_an_overfitting_run_validates_on_what_it_trains_on(runs: Path, capsys: Any) -> None:
    outcome = cli(capsys, "debug=overfit", "data=synthetic", "data.size=500", "batch_size=16", "name=x")
    assert outcome.code == 0 and "on test" not in outcome.out
    last = rows_of(runs / "x")[-1]
    assert entries_of(runs / "x/last.tar")["data_state_dict"]["size"] == 16
    assert float(last["val/accuracy"]) == 1.0


def test_one_batch_is_one_step_and_one_evaluation_even_of_an_experiment(runs: Path, capsys: Any) -> None:
    words = ("experiment=gan_digits", "debug=one_batch", "data=synthetic", "data.shape=[1,16,16]", "name=x")
    assert cli(capsys, *words).code == 0
    assert entries_of(runs / "x/last.tar")["global_step"] == 1


def test_limits_and_overfitting_do_not_go_together(capsys: Any) -> None:
    outcome = cli(capsys, "debug=overfit", "debug.limit_train=2")
    assert outcome.code == 2 and "debug.overfit=1 is invalid" in outcome.err


@pytest.mark.parametrize("word", ["debug=limit", "debug.limit_eval=1"])
def test_an_evaluation_is_of_the_whole_split(runs: Path, capsys: Any, word: str) -> None:
    assert cli(capsys, "data=synthetic", "data.size=500", "debug=one_batch", "name=x", "batch_size=8").code == 0
    ask = ("task=predict", "checkpoint_path=outputs/x/last.tar")
    assert json.loads(cli(capsys, *ask).out.splitlines()[-1])["samples"] == 100
    outcome = cli(capsys, *ask, word)
    assert outcome.code == 2 and "leave it out" in outcome.err


@pytest.mark.filterwarnings("ignore:Error detected in")
@pytest.mark.parametrize("word", ["limit_train=1", "overfit=1"])
def test_the_model_of_limited_data_is_built_from_its_file(runs: Path, capsys: Any, word: str) -> None:
    words = ("model=lenet", "data=synthetic", "data.shape=[1,32,32]", "max_steps=1", "tracker=none", f"debug.{word}")
    assert cli(capsys, *words, "name=x").code == 0
    assert entries_of(Path("outputs/x/last.tar"))["environment"]["facts"]["in_channels"] == 1
    assert runner.load("outputs/x")(torch.zeros(1, 1, 32, 32)).shape == (1, 10)


def test_anomaly_names_the_operation_that_made_a_nan(capsys: Any) -> None:
    words = (*TINY, "learner._target_=tests.own.nonfinite.NanGradient", "debug=anomaly", "name=x")
    outcome = cli(capsys, *words)
    assert outcome.code == 1 and "MulBackward0' returned nan" in outcome.out


def test_a_selection_from_a_stream_is_its_beginning() -> None:
    assert selection(iter([4, 5, 6]), 2) == [4, 5]
