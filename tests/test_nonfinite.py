"""NaN and infinity: stopped, skipped or rolled back, and never in a checkpoint."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from runner.checkpoint.writer.finite import non_finite
from runner.errors import NonFinite
from runner.loop.guard import Skipping
from runner.progress import Progress
from runner.strategy.precision import Precision
from tests.own.nonfinite import PoisonedOnce
from tests.support.command_line import TINY, cli
from tests.support.comparing import difference, entries_of, rows_of

pytestmark = pytest.mark.usefixtures("unpoisoned")

ONCE = (*TINY, "learner._target_=tests.own.nonfinite.PoisonedOnce")
ALWAYS = (*TINY, "learner._target_=tests.own.nonfinite.Poisoned")


def test_a_run_whose_weights_become_nan_under_a_finite_loss_saves_none_of_it(runs: Path, capsys: Any) -> None:
    words = (*TINY, "learner._target_=tests.own.nonfinite.NanGradient", "checkpoint.every_steps=1", "name=x")
    outcome = cli(capsys, *words)
    assert outcome.code == 1 and "became NaN" in outcome.out and "Traceback" not in outcome.out
    assert not list((runs / "x").rglob("*.tar"))


def test_the_places_of_nan_and_infinity_are_named_and_an_overflowing_sum_is_neither() -> None:
    large = torch.full((4,), 3e38)
    states = {
        "model_state_dict": {"a": large, "b": torch.tensor([1.0, float("nan")]), "n": torch.tensor([1])},
        "optimizer_state_dict": {"state": {0: {"exp_avg": torch.tensor([float("-inf")])}}},
        "progress_state_dict": {"window": {"perplexity": torch.tensor(float("inf"))}},
    }
    assert non_finite(states) == {"model_state_dict.b", "optimizer_state_dict.state.0.exp_avg"}


def test_a_mask_of_infinities_is_meant_and_saved(runs: Path, capsys: Any) -> None:
    words = ("model=own", "model._target_=tests.own.nonfinite.Masked")
    assert cli(capsys, *TINY[3:], *words, "name=x").code == 0
    assert entries_of(runs / "x/last.tar")["model_state_dict"]["mask"].isinf().any()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [pytest.param(0, marks=pytest.mark.slow), 2])
def test_a_skipped_step_leaves_weights_and_metrics_finite_and_is_resumed_exactly(
    runs: Path, capsys: Any, monkeypatch: Any, workers: int
) -> None:
    words = (*ALWAYS, "on_nonfinite=skip", f"data.workers={workers}", "log_every=1", "scheduler=none")
    assert cli(capsys, *words, "name=whole").code == 0
    assert len(rows_of(runs / "whole")) == 9
    assert not non_finite(entries_of(runs / "whole/last.tar"))
    for steps in (4, 5, 6):
        assert cli(capsys, *words, f"name=s{steps}", "epochs=null", f"max_steps={steps}").code == 0
    four, five, six = (entries_of(runs / f"s{n}/last.tar")["model_state_dict"]["layers.1.weight"] for n in (4, 5, 6))
    assert torch.equal(four, five) and not torch.equal(five, six)
    for steps in (4, 5, 6):
        assert cli(capsys, f"resume=outputs/s{steps}", "epochs=3", "max_steps=null", "trust=[tests]").code == 0
        one, other = (entries_of(runs / f"{name}/last.tar") for name in ("whole", f"s{steps}"))
        assert difference(one["model_state_dict"], other["model_state_dict"]) is None
        assert difference(one["optimizer_state_dict"], other["optimizer_state_dict"]) is None


def test_a_skipped_step_gives_buffers_back() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    guard, optimizer = Skipping(), torch.optim.SGD(model.parameters(), lr=0.1)
    guard.begin({"model": model})
    loss = model(torch.tensor([[1.0, 2.0], [float("nan"), 1.0]])).sum()
    loss.backward()
    scaler = Precision("fp32", torch.device("cpu"))
    assert not guard.allows(scaler, optimizer, [({"loss": loss.detach()}, 1.0)], "model")
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())


def test_a_gradient_that_is_not_finite_is_skipped_though_the_loss_is(runs: Path, capsys: Any) -> None:
    words = (*TINY, "learner._target_=tests.own.nonfinite.NanGradient", "on_nonfinite=skip", "name=x")
    outcome = cli(capsys, *words)
    assert outcome.code == 1 and "6 updates of the model in a row" in outcome.out


def test_a_rollback_goes_on_from_the_last_good_checkpoint_with_another_order(runs: Path, capsys: Any) -> None:
    assert cli(capsys, *TINY, "name=plain").code == 0
    outcome = cli(capsys, *ONCE, "on_nonfinite=rollback", "name=x", "log_every=1")
    assert outcome.code == 0 and "rolling back to step_0000000003.tar" in outcome.out
    last = entries_of(runs / "x/last.tar")
    assert last["progress_state_dict"]["rollbacks"] == 1 and last["global_step"] == 9
    assert [row["step"] for row in rows_of(runs / "x")] == [str(step) for step in range(1, 10)]
    plain = entries_of(runs / "plain/last.tar")["model_state_dict"]
    assert not torch.equal(plain["layers.1.weight"], last["model_state_dict"]["layers.1.weight"])


def test_a_run_that_was_stopped_after_a_rollback_resumes_exactly(runs: Path, capsys: Any, monkeypatch: Any) -> None:
    words = (*ONCE, "on_nonfinite=rollback")
    assert cli(capsys, *words, "name=whole").code == 0
    PoisonedOnce.fired = False
    assert cli(capsys, *words, "name=x", "epochs=2").code == 0
    assert cli(capsys, "resume=outputs/x", "epochs=3", "trust=[tests]").code == 0
    one, other = (entries_of(runs / f"{name}/last.tar") for name in ("whole", "x"))
    assert one["rng_state_dict"]["rank_0"]["torch"].equal(other["rng_state_dict"]["rank_0"]["torch"])
    assert one["progress_state_dict"]["rollbacks"] == other["progress_state_dict"]["rollbacks"] == 1


def test_rollbacks_are_limited_and_without_a_checkpoint_there_is_none(runs: Path, capsys: Any) -> None:
    outcome = cli(capsys, *ALWAYS, "on_nonfinite=rollback", "nonfinite_limit=2", "name=x")
    assert outcome.code == 1 and outcome.out.count("rolling back to") == 2
    assert json.loads((runs / "x/status.json").read_text())["state"] == "failed"
    early = cli(capsys, *ALWAYS, "+learner.at=1", "on_nonfinite=rollback", "name=y")
    assert early.code == 1 and "going back" not in early.out


def test_each_model_has_its_own_means_and_its_own_skipped_updates() -> None:
    progress = Progress()
    for step in range(5):
        progress.begin_step()
        progress.observe("a", [({"loss": torch.tensor(2.0)}, 1.0)])
        if step == 4:
            progress.observe("b", [({"loss": torch.tensor(1.0)}, 0.5), ({"loss": torch.tensor(3.0)}, 0.5)])
        progress.advance(epoch_ended=False)
    assert progress.take_window() == {"train/a_loss": 2.0, "train/b_loss": 2.0}
    progress.skip("b", limit=1)
    progress.observe("a", [({"loss": torch.tensor(2.0)}, 1.0)])
    with pytest.raises(NonFinite, match="2 updates of the b in a row"):
        progress.skip("b", limit=1)
    assert progress.take_window() == {"train/a_loss": 2.0}


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
@pytest.mark.parametrize("number", [1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("length", [3, 70_000])
def test_what_is_not_finite_is_found_in_tensors_of_every_kind(number: float, length: int) -> None:
    dense = torch.ones(length)
    dense[-1] = number
    eights = [dense.to(torch.float8_e5m2), torch.ones(length).to(torch.float8_e4m3fn)]
    kinds = [dense.to(dtype) for dtype in (torch.float64, torch.bfloat16, torch.float16, torch.complex64)]
    sparse = [dense.to_sparse(), dense[None].to_sparse_csr(), dense.to(torch.complex64).to_sparse()]
    found = non_finite({"state": [*kinds, eights[0], *sparse, eights[1]]})
    assert found == (set() if number == 1.0 else {f"state[{index}]" for index in range(8)})
