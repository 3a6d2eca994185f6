"""Memory formats change no name, no shape and no value."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from runner.data.loaders.batches import in_channels_last
from runner.data.loaders.delivery import Loading
from runner.data.loaders.loading import EvaluationLoader, TrainLoader
from runner.optim.matching import match_layout
from runner.strategy.layout import to_channels_last
from tests.support.command_line import cli
from tests.support.comparing import assert_same_run, entries_of, same

LAST = torch.channels_last
STOPPABLE = (
    "model=lenet", "data=synthetic", "data.shape=[3,16,16]", "data.classes=3", "data.size=12", "batch_size=4",
    "epochs=2", "device=cpu", "learner=own", "learner._target_=tests.own.learners.StoppableClassification",
    "tracker=csv", "optimizer.fused=true",
)  # fmt: skip


def images(count: int = 6) -> list[tuple[torch.Tensor, int]]:
    return [(torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(seed)), seed) for seed in range(count)]


def test_weights_and_buffers_of_four_dimensions_change_their_format_and_nothing_else() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Conv3d(3, 3, 3), nn.Linear(3, 3))
    model.register_buffer("table", torch.rand(2, 3, 4, 5))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    to_channels_last(model)
    assert same(dict(model.state_dict()), before)
    assert all(value.is_contiguous(memory_format=LAST) for value in model.state_dict().values() if value.dim() == 4)


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_arrive_in_the_format_with_the_same_values(workers: int) -> None:
    loading = Loading(4, workers, finish=in_channels_last)
    plain, formed = (TrainLoader(images(), one, seed=1, accumulate=2) for one in (Loading(4), loading))
    one, other = (next(loader.batches(loader.position(), epoch=0)) for loader in (plain, formed))
    assert same(list(one.parts), list(other.parts)) and one.counts == other.counts == (2, 2)
    assert all(part[0].is_contiguous(memory_format=LAST) for part in other.parts)
    assert next(iter(EvaluationLoader(images(), loading))).whole[0].is_contiguous(memory_format=LAST)


def test_only_tensors_of_four_dimensions_are_formed_wherever_they_are() -> None:
    batch = {"images": [torch.rand(2, 2, 3, 3)], "video": torch.rand(1, 2, 2, 3, 3), "name": "x"}
    formed = in_channels_last(batch)
    assert same(formed, batch) and formed["video"] is batch["video"]
    assert formed["images"][0].is_contiguous(memory_format=LAST)


@pytest.mark.parametrize("options", [{"fused": True}, {"foreach": True}, {}], ids=str)
def test_moments_of_a_file_are_laid_out_like_their_weights(options: dict[str, Any]) -> None:
    weights = [nn.Parameter(torch.arange(24.0).view(1, 2, 3, 4)) for _ in range(2)]
    weights[1].data = weights[1].data.contiguous(memory_format=LAST)
    one, other = (torch.optim.Adam([weight], lr=0.1, **options) for weight in weights)
    other.register_load_state_dict_post_hook(match_layout)
    for step in range(2):
        for weight in weights:
            weight.grad = torch.sin(weight.detach() + step)
        one.step()
        if step == 0:
            other.load_state_dict(deepcopy(one.state_dict()))
            weights[1].data.copy_(weights[0].data)
        else:
            other.step()
    assert torch.equal(*weights)
    assert all(value.stride() == weights[1].stride() for value in other.state[weights[1]].values() if value.dim())


@pytest.mark.slow
def test_a_run_in_channels_last_resumes_exactly_and_files_of_both_formats_are_interchangeable(
    runs: Path, capsys: Any, monkeypatch: Any
) -> None:
    words = (*STOPPABLE, "device.channels_last=true")
    assert cli(capsys, *words, "name=whole").code == 0
    monkeypatch.setenv("STOP_AT", "3")
    assert cli(capsys, *words, "name=x").code == 75
    assert cli(capsys, *STOPPABLE, "name=y").code == 75
    monkeypatch.delenv("STOP_AT")
    one, other = (entries_of(runs / name / "last.tar")["model_state_dict"] for name in "xy")
    assert {key: value.shape for key, value in one.items()} == {key: value.shape for key, value in other.items()}
    assert one["conv1.weight"].stride() != other["conv1.weight"].stride()
    assert cli(capsys, f"resume={runs / 'x'}").code == 0
    assert_same_run(runs / "whole", runs / "x")
    outcome = cli(capsys, f"resume={runs / 'y'}", "device.channels_last=true")
    assert outcome.code == 0 and "device.channels_last | False | True | free" in outcome.out
    one, other = (entries_of(runs / name / "last.tar")["model_state_dict"] for name in "xy")
    assert all(torch.allclose(one[key], other[key], atol=1e-4) for key in one)
