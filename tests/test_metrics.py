"""Figures of the whole set, whatever the batches are: means, values a sample, accumulators, and what rows give."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from runner.data.loaders.loading import EvaluationLoader, Loading
from runner.errors import ConfigError
from runner.loop.evaluate import evaluate
from runner.strategy.devices import Devices
from runner.strategy.strategies import Single
from tests.own.figures import F1, Averaged, Forgetful, Judged, f1_of
from tests.support.command_line import TINY, cli


def measured(learner: Any, batch_size: int, stop_at: int | None = None) -> dict[str, float] | None:
    """Return what a learner measures of eleven samples with a model that tells most of them."""
    torch.manual_seed(0)
    inputs = torch.randn(11, 3)
    targets = (inputs[:, 0] + 0.7 * torch.randn(11) > 0).long()
    model = nn.Linear(3, 2)
    with torch.no_grad():
        model.bias.zero_()
        model.weight.copy_(torch.tensor([[0.0, 0.0, 0.0], [2.0, 0.1, 0.0]]))
    loader = EvaluationLoader(TensorDataset(inputs, targets), Loading(batch_size))
    looks = iter(range(99))
    return evaluate(
        {"model": model},
        learner,
        loader=loader,
        strategy=Single(Devices("cpu")),
        stop=lambda: "SIGTERM" if next(looks) == stop_at else None,
    )


@pytest.mark.parametrize("batch_size", [1, 2, 4, 10])
def test_figures_do_not_depend_on_how_the_set_is_divided(batch_size: int) -> None:
    whole, parts = measured(Judged(), 11), measured(Judged(), batch_size)
    assert whole is not None and parts is not None and list(parts) == list(whole)
    assert all(parts[name] == pytest.approx(whole[name], abs=1e-6) for name in Judged.metrics)
    assert whole["f1"] == whole["f1_of_rows"] and 0 < whole["f1"] < 1 and whole["worst"] > whole["loss"]


def test_the_f1_of_the_whole_set_is_no_mean_of_those_of_batches() -> None:
    whole, mean = measured(Judged(), 2), measured(Averaged(), 2)
    assert whole is not None and mean is not None and abs(whole["f1"] - mean["f1"]) > 0.01
    assert f1_of(torch.tensor([1, 1, 0, 0]), torch.tensor([1, 0, 1, 0])) == 0.5  # by hand: 1 hit, 2 chosen, 2 wanted


def test_an_accumulator_is_empty_after_every_evaluation_also_one_that_was_broken_off() -> None:
    learner = Judged()
    first = measured(learner, 4)
    assert measured(learner, 4, stop_at=1) is None and learner.f1.chosen == []
    assert measured(learner, 4) == first and learner.f1.chosen == []


def test_a_summary_that_lacks_a_metric_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match=r"Forgetful.summary\(rows\) returned .* and no 'worst'; return a dictionary"):
        measured(Forgetful(), 4)


def test_a_run_is_chosen_by_a_figure_of_the_whole_set_and_evaluated_alike(runs: Path, capsys: Any) -> None:
    words = ("learner._target_=tests.own.figures.Judged", "checkpoint.monitor=val/f1", "checkpoint.mode=max")
    outcome = cli(capsys, *TINY, *words, "name=x")
    assert outcome.code == 0 and "is not the f1 of the whole set" not in outcome.out, outcome.err
    best = json.loads((runs / "x/status.json").read_text())["best_metric"]
    said = cli(capsys, "task=evaluate", "checkpoint_path=outputs/x/best.tar", "data.split=val", "batch_size=4")
    assert said.code == 0, said.err
    figures = json.loads(said.out.splitlines()[-1])
    assert figures["f1"] == figures["f1_of_rows"] == best


def test_a_mean_of_what_is_none_is_said_at_the_start(runs: Path, capsys: Any) -> None:
    outcome = cli(capsys, *TINY, "learner._target_=tests.own.figures.Averaged", "name=x", "epochs=1")
    assert outcome.code == 0
    log = (runs / "x/run.log").read_text()
    assert "Averaged.evaluation returns f1 as one number per batch" in log and "summary(rows)" in log


def test_a_wrong_summary_is_found_before_anything_is_made(runs: Path, capsys: Any) -> None:
    outcome = cli(capsys, *TINY, "learner._target_=tests.own.figures.Forgetful")
    assert outcome.code == 2 and "no 'worst'" in outcome.err and not runs.exists()


@pytest.mark.parametrize(
    ("evaluated", "summed", "said"),
    [
        (lambda batch: {"costs": torch.zeros(len(batch[0]), len(batch[0]))}, {}, r"\(3, 3\), and as a tensor \(4, 4\)"),
        (lambda batch: {"f1": F1()}, {}, "another accumulator 'f1' for each batch; keep one"),
        (lambda batch: {}, {"loss": 100.0}, r"summary\(rows\) and evaluation both returned 'loss'"),
        (lambda batch: {}, None, r"summary\(rows\) returned a NoneType; return a dictionary"),
    ],
)
def test_what_would_be_a_wrong_figure_is_one_sentence(evaluated: Any, summed: Any, said: str) -> None:
    class Mistaken(Judged):
        def evaluation(self, models: Any, batch: Any) -> Any:
            return {**super().evaluation(models, batch), **evaluated(batch)}

        def summary(self, rows: Any) -> Any:
            return summed and {"f1_of_rows": 0.0, "worst": 0.0, **summed}

    with pytest.raises(ConfigError, match=said):
        measured(Mistaken(), 4)
