"""What is exported is what the checkpoint has, in the eyes of plain PyTorch; nothing half or unasked-for is left."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import runner
from runner.models import Mlp
from tests.support.command_line import DATA, SMALL, Outcome, cli
from tests.support.comparing import entries_of

RUN = (*SMALL, "tracker=none", "max_steps=3", "ema.decay=0.5", "name=x")
CHECKPOINT = "outputs/x/last.tar"


@pytest.fixture
def export(work: Path, tool: Callable[..., Outcome], capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """A way to call the tool, in a directory that has a run."""
    assert cli(capsys, *RUN).code == 0
    return partial(tool, "export")


@pytest.mark.parametrize(("weights", "part"), [((), "ema"), (("--weights", "raw"), "model")])
@pytest.mark.parametrize("form", ["state_dict", "safetensors"])
def test_exported_weights_are_those_of_the_file(
    export: Callable[..., Outcome], form: str, weights: tuple[str, ...], part: str
) -> None:
    outcome = export(CHECKPOINT, "--format", form, *weights)
    assert outcome.code == 0 and "with equal outputs on a sample" in outcome.out, outcome.err
    path = Path("outputs/x/last.pt" if form == "state_dict" else "outputs/x/last.safetensors")
    found = torch.load(path, weights_only=True) if form == "state_dict" else load_file(path)
    stored = entries_of(Path(CHECKPOINT))[f"{part}_state_dict"]
    assert all(torch.equal(found[name], stored[name]) for name in stored) and found.keys() == stored.keys()
    assert not list(Path("outputs/x").glob(".*.tmp-*"))


def test_a_whole_module_answers_as_the_original_does_and_is_said_to_run_code(export: Callable[..., Outcome]) -> None:
    outcome = export(CHECKPOINT, "--format", "module", "--output", "whole.pt")
    assert outcome.code == 0 and "weights_only=False" in outcome.out
    model = torch.load("whole.pt", weights_only=False)
    inputs = torch.randn(5, 4)
    assert torch.equal(model(inputs), runner.load(CHECKPOINT)(inputs)) and not model.training


@pytest.mark.parametrize("form", ["state_dict", "safetensors"])
def test_an_export_warm_starts_another_run(export: Callable[..., Outcome], capsys: Any, form: str) -> None:
    ending = "pt" if form == "state_dict" else form
    assert export(CHECKPOINT, "--format", form, "--output", f"w.{ending}").code == 0
    outcome = cli(capsys, *RUN[:-2], "max_steps=1", "name=y", f"warm_start.path=w.{ending}", "warm_start.strict=true")
    assert outcome.code == 0 and "loaded 4" in outcome.out, outcome.err


def test_each_of_several_models_gets_a_file(export: Callable[..., Outcome], capsys: Any) -> None:
    words = ("experiment=gan_digits", "device=cpu", "max_steps=1", "tracker=none", "name=gan")
    assert cli(capsys, *words).code == 0
    outcome = export("outputs/gan/last.tar", "--format", "state_dict", "--output", "gan.pt")
    assert outcome.code == 0, outcome.err
    stored = entries_of(Path("outputs/gan/last.tar"))
    for name in ("generator", "discriminator"):
        found = torch.load(f"gan.{name}.pt", weights_only=True)
        assert all(torch.equal(found[key], value) for key, value in stored[f"{name}_state_dict"].items())
    assert "generator as state_dict, with equal tensors" in outcome.out


def test_other_files_are_converted_as_they_are(export: Callable[..., Outcome]) -> None:
    tied = nn.Linear(2, 2)
    weights = {"a": tied.weight.detach(), "b": tied.weight.detach()}
    torch.save(weights, "bare.pth")
    assert export("bare.pth", "--format", "safetensors", "--output", "bare.safetensors").code == 0
    assert export("bare.safetensors", "--format", "state_dict", "--output", "again.pt").code == 0
    again = torch.load("again.pt", weights_only=True)
    assert all(torch.equal(again[name], weights[name]) for name in weights)
    outcome = export("bare.pth", "--format", "module")
    assert outcome.code == 2 and "no model" in outcome.err


def test_the_only_model_of_a_file_gets_the_name_that_was_asked_for(export: Callable[..., Outcome]) -> None:
    torch.save({"epoch": 1, "model_state_dict": Mlp(4, 3, hidden=[5]).state_dict()}, "tutorial.tar")
    assert export("tutorial.tar", "--format", "state_dict", "--output", "only.pt").code == 0
    assert Path("only.pt").is_file()


def test_a_pickled_module_is_read_only_when_its_code_is_trusted(export: Callable[..., Outcome]) -> None:
    model = Mlp(4, 3, hidden=[5])
    torch.save(model, "whole.pt")
    outcome = export("whole.pt", "--format", "state_dict", "--output", "out.pt")
    assert outcome.code == 2 and "is refused" in outcome.err and not Path("out.pt").exists()
    assert "trust" not in outcome.err  # no error advises unsafe loading
    assert export("whole.pt", "--format", "state_dict", "--output", "out.pt", "--trust").code == 0
    found = torch.load("out.pt", weights_only=True)
    assert all(torch.equal(found[name], value) for name, value in model.state_dict().items())


class Touching:
    """Makes a directory when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("marker",)


def test_what_is_no_module_is_refused_even_then_and_a_plain_file_is_never_unpickled(
    export: Callable[..., Outcome],
) -> None:
    torch.save({"model": Touching()}, "evil.pt")
    assert export("evil.pt", "--format", "state_dict").code == 2 and not Path("marker").exists()
    outcome = export("evil.pt", "--format", "state_dict", "--trust")
    assert outcome.code == 2 and "not a whole nn.Module" in outcome.err


def test_nothing_is_overwritten_and_nothing_half_is_left(export: Callable[..., Outcome]) -> None:
    Path("mine.pt").write_text("mine")
    outcome = export(CHECKPOINT, "--format", "state_dict", "--output", "mine.pt")
    assert outcome.code == 2 and "exists already" in outcome.err and Path("mine.pt").read_text() == "mine"
    outcome = export(CHECKPOINT, "--format", "state_dict", "--output", "absent/mine.pt")
    assert outcome.code == 2 and "is not a folder" in outcome.err


class Random(nn.Linear):
    """Answers otherwise each time."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return super().forward(inputs) + torch.rand(())


def test_a_copy_that_answers_otherwise_does_not_count(export: Callable[..., Outcome], capsys: Any) -> None:
    words = (*DATA, "model=own", "model._target_=tests.test_export.Random", "+model.in_features=4")
    assert cli(capsys, *words, "+model.out_features=3", "max_steps=1", "tracker=none", "name=r").code == 0
    outcome = export("outputs/r/last.tar", "--format", "state_dict", "--output", "r.pt", "--trust", "tests")
    assert outcome.code == 2 and "differs when read back" in outcome.err
    assert not list(Path().glob("*r.pt*"))


def test_a_value_that_safetensors_cannot_hold_is_named(export: Callable[..., Outcome]) -> None:
    torch.save({"weight": torch.ones(2), "version": 3}, "odd.pt")
    outcome = export("odd.pt", "--format", "safetensors")
    assert outcome.code == 2 and "'version'" in outcome.err
    save_file({"w": torch.ones(1)}, "good.safetensors")
