"""Warm start: what is chosen, renamed, left out and frozen; wrong matches. Its sources: test_warm_start_sources.py."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from runner.checkpoint.weights.match import Fitting, fit, strip_wrappers
from runner.checkpoint.weights.sources import Source, read_source
from runner.errors import CheckpointMismatch
from runner.models import Discriminator, Generator, Mlp
from tests.support import REPOSITORY
from tests.support.command_line import SMALL, TINY, cli
from tests.support.comparing import assert_same_run, difference, entries_of

NEW = (*SMALL, "tracker=none", "max_steps=1", "name=new")


def mlp(*, hidden: int = 5, classes: int = 3) -> Mlp:
    """The model of NEW with weights of its own."""
    torch.manual_seed(1)
    return Mlp(in_features=4, num_classes=classes, hidden=[hidden])


def mlp_of_tiny() -> Mlp:
    """The model of TINY with weights of its own."""
    torch.manual_seed(1)
    return Mlp(in_features=4, num_classes=2, hidden=[8])


def ours_from_a_gan(folder: Path, capsys: Any) -> Path:
    words = ("experiment=gan_digits", "device=cpu", "max_steps=1", "tracker=none", "name=old")
    assert cli(capsys, *words).code == 0
    return folder / "outputs/old/last.tar"


def bare(folder: Path, capsys: Any) -> Path:
    torch.save(mlp().state_dict(), folder / "bare.pth")
    return folder / "bare.pth"


def multiple(folder: Path, capsys: Any) -> Path:
    content = {"modelA_state_dict": mlp(hidden=9).state_dict(), "modelB_state_dict": mlp().state_dict()}
    torch.save(content, folder / "several.tar")
    return folder / "several.tar"


def of_another_head(folder: Path, capsys: Any) -> Path:
    torch.save(mlp(classes=8).state_dict(), folder / "head.pt")
    return folder / "head.pt"


HEAD = ["layers.4.weight", "layers.4.bias"]
BODY = ["layers.1.weight", "layers.1.bias"]


def test_what_is_frozen_is_reported_and_stays_as_it_is_in_the_file(work: Path, capsys: Any) -> None:
    frozen = "warm_start.freeze=[layers]"
    words = ("warm_start.exclude=[layers.4.bias]", frozen, f"warm_start.path={bare(work, capsys)}")
    outcome = cli(capsys, *NEW, *words)
    assert outcome.code == 0 and "frozen 3: layers.1.weight, layers.1.bias, layers.4.weight" in outcome.out
    trained, source = entries_of(Path("outputs/new/last.tar"))["model_state_dict"], mlp().state_dict()
    assert [name for name in source if torch.equal(trained[name], source[name])] == [*BODY, "layers.4.weight"]


def test_a_pattern_that_freezes_one_model_of_several_is_enough(work: Path, capsys: Any) -> None:
    path = ours_from_a_gan(work, capsys)
    words = ("experiment=gan_digits", "device=cpu", "max_steps=1", "tracker=none", "seed=3", "name=new")
    assert cli(capsys, *words, f"warm_start.path={path}", "warm_start.freeze=['layers[.]2']").code == 0
    report = json.loads(Path("outputs/new/warm_start.json").read_text())["models"]
    frozen = {name: entries["frozen"] for name, entries in report.items()}
    assert frozen == {"generator": ["layers.2.weight", "layers.2.bias"], "discriminator": []}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("warm_start.path=absent.pt",), "there is no checkpoint at absent.pt"),
        (("warm_start.path=bare.pth", "warm_start.rename=['layers=other']"), "no weight matched"),
        (("warm_start.path=bare.pth", "warm_start.rename=['(=x']"), "not a regular expression"),
        (("warm_start.path=bare.pth", "warm_start.rename=[x]"), "write .warm_start.rename="),
        (("warm_start.path=bare.pth", "warm_start.rename=['a=\\2']"), "invalid group reference"),
        (("warm_start.path=bare.pth", "warm_start.freeze=[conv]"), "matches no loaded parameter"),
        (("warm_start.path=bare.pth", "warm_start.freeze=[layers.1,conv]"), r"freeze=\[conv\] matches no loaded"),
        (("warm_start.path=bare.pth", "warm_start.exclude=[layers,head]"), r"exclude=\[head\] matches no name"),
        (("warm_start.path=bare.pth", "warm_start.include=[conv]"), r"include=\[conv\] matches no name"),
        (("warm_start.freeze=[layers]",), "it with warm_start.path"),
        (("warm_start.path=bare.pth", "warm_start.freeze=[.]"), "no parameter to train"),
        (("warm_start.path=bare.pth", "warm_start.weights=ema"), "no moving average"),
        (("warm_start.path=bare.pth", "warm_start.parts={model: other}"), "no part 'other'"),
        (("warm_start.path=bare.pth", "warm_start.parts={other: model}"), "the models are model"),
        (("warm_start.path=head.pt", "warm_start.strict=true"), "exactly"),
        (("warm_start.path=head.pt", "warm_start.min_matched=0.9"), "50% of its names"),
        (("warm_start.path=head.pt", "warm_start.min_matched=2"), "in \\[0, 1\\]"),
        (("warm_start.path=several.tar",), "choose one with 'warm_start.parts={"),
        (("warm_start.path=code.pt",), "nothing was executed|not a checkpoint"),
        (("warm_start.path=text.safetensors",), "a text file"),
    ],
)
def test_a_wrong_match_is_never_silent(work: Path, capsys: Any, words: tuple[str, ...], says: str) -> None:
    for make in (bare, multiple, of_another_head):
        make(work, capsys)
    torch.save(mlp(), work / "code.pt")  # a whole pickled module
    (work / "text.safetensors").write_text("no tensors")
    outcome = cli(capsys, *NEW, *words)
    assert outcome.code == 2 and not Path("outputs").exists()
    assert re.search(says, outcome.err), outcome.err
    assert "Traceback" not in outcome.err and "weights_only=False" not in outcome.err


def test_a_run_with_frozen_parameters_resumes_exactly(work: Path, capsys: Any) -> None:
    words = [*NEW[:-2], "model.dropout=0.3", f"warm_start.path={bare(work, capsys)}"]
    words += ["warm_start.freeze=[layers.1]", "ema.decay=0.8", "checkpoint.every_steps=1", "checkpoint.keep_last=9"]
    assert cli(capsys, *words, "epochs=3", "name=whole").code == 0
    whole = Path("outputs/whole")
    third = whole / "checkpoints/step_0000000003.tar"
    assert cli(capsys, f"resume={third}", "name=fork").code == 0
    one, other = entries_of(whole / "last.tar"), entries_of(Path("outputs/fork/last.tar"))
    assert difference(one, other) is None
    assert one["optimizer_state_dict"]["param_groups"][0]["param_names"] == HEAD
    assert torch.equal(one["model_state_dict"]["layers.1.weight"], mlp().state_dict()["layers.1.weight"])


def test_one_command_starts_warm_and_frozen_and_goes_on_so_after_a_stop(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    torch.save(mlp_of_tiny().state_dict(), "tiny.pth")
    words = (*TINY, "warm_start.path=tiny.pth", "warm_start.freeze=[layers.1]")
    assert cli(capsys, *words, "name=whole").code == 0
    monkeypatch.setenv("STOP_AT", "4")
    assert cli(capsys, *words, "name=x", "resume=auto").code == 75
    monkeypatch.delenv("STOP_AT")
    assert cli(capsys, *words, "name=x", "resume=auto").code == 0
    assert_same_run(Path("outputs/whole"), Path("outputs/x"))
    entries = entries_of(Path("outputs/x/last.tar"))
    assert entries["optimizer_state_dict"]["param_groups"][0]["param_names"] == HEAD
    assert all(torch.equal(entries["model_state_dict"][name], mlp_of_tiny().state_dict()[name]) for name in BODY)


def test_a_safetensors_file_that_may_not_be_read_is_not_called_absent(tmp_path: Path) -> None:
    path = tmp_path / "closed.safetensors"
    save_file(mlp().state_dict(), path)
    path.chmod(0)
    command = [sys.executable, str(REPOSITORY / "run.py"), *NEW, f"warm_start.path={path}"]
    if os.geteuid() == 0:  # who may read everything
        rights = "-dac_override,-dac_read_search"
        command = ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}", *command]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and f"{path} cannot be read" in done.stderr, done.stderr
    assert not (tmp_path / "outputs").exists()


def test_a_layer_of_which_a_part_does_not_fit_is_left_alone() -> None:
    own, found = nn.Linear(3, 4).state_dict(), nn.Linear(2, 4).state_dict()
    weights, report = fit(own, found, Fitting())
    assert report.loaded == [] and list(report.reshaped) == ["weight"] and report.partial == ["bias"]
    assert all(torch.equal(weights[name], own[name]) for name in own)


def test_a_parameter_beside_whole_layers_is_loaded_whatever_fits_of_the_others() -> None:
    own = {"token": torch.zeros(1, 4), "positions": torch.zeros(5, 4), "head.weight": torch.zeros(3, 4)}
    found = {"token": torch.ones(1, 4), "positions": torch.ones(9, 4), "head.weight": torch.ones(3, 4)}
    _, report = fit(own, found, Fitting())
    assert report.loaded == ["token", "head.weight"] and list(report.reshaped) == ["positions"]


def test_a_pattern_of_rename_may_look_ahead() -> None:
    own = {"body.fc.weight": torch.zeros(1), "body.fc.bias": torch.zeros(1)}
    found = {"fc.weight": torch.ones(1), "body.fc.bias": torch.ones(1)}
    _, report = fit(own, found, Fitting(rename=["^(?=fc)=body."]))
    assert report.loaded == list(own)


class Counting(nn.Linear):
    """A layer with extra state of several values."""

    def get_extra_state(self) -> dict[str, int]:
        """Return them."""
        return {"calls": 3}

    def set_extra_state(self, state: dict[str, int]) -> None:
        """Take them back."""
        self.taken = state


def test_a_state_dict_with_extra_state_is_a_source_too(tmp_path: Path) -> None:
    model = nn.Sequential(Counting(3, 2))
    torch.save(model.state_dict(), tmp_path / "extra.pt")
    found = read_source(tmp_path / "extra.pt").choose("model")
    weights, report = fit(model.state_dict(), found, Fitting())
    assert report.loaded == ["0.weight", "0.bias", "0._extra_state"]
    assert weights["0._extra_state"] == {"calls": 3}


def test_renaming_two_names_to_one_is_refused() -> None:
    found = {"a.weight": torch.ones(1), "b.weight": torch.ones(1)}
    with pytest.raises(CheckpointMismatch, match=r"a\.weight and b\.weight of the file both"):
        fit({"c.weight": torch.ones(1)}, found, Fitting(rename=["^[ab]=c"]))


def test_a_model_whose_own_names_have_a_module_keeps_them() -> None:
    own = ["module.fc.weight", "fc.weight", "head.module.bias"]
    found = ["module.fc.weight", "fc.weight", "module._orig_mod.head.bias"]
    assert list(strip_wrappers(own, found).values()) == own


def test_files_of_the_gans_own_models_load_in_plain_pytorch(work: Path, capsys: Any) -> None:
    entries = torch.load(ours_from_a_gan(work, capsys), weights_only=True)
    Generator(64, 1, (32, 32)).load_state_dict(entries["generator_state_dict"])
    Discriminator(1, (32, 32)).load_state_dict(entries["discriminator_state_dict"])


@pytest.mark.parametrize("spoilt", [torch.full((5,), torch.nan), torch.zeros(5, dtype=torch.int64)], ids=["nan", "int"])
def test_weights_that_are_no_numbers_to_start_with_are_not_loaded(
    work: Path, capsys: Any, spoilt: torch.Tensor
) -> None:
    torch.save({**mlp().state_dict(), "layers.1.bias": spoilt}, "spoilt.pth")
    outcome = cli(capsys, *NEW, "warm_start.path=spoilt.pth", "warm_start.strict=true")
    assert outcome.code == 2 and "layers.1.bias" in outcome.err and not Path("outputs").exists()


def test_a_file_of_moving_averages_alone_says_how_one_is_taken() -> None:
    weights = {"w": torch.ones(1)}
    source = Source(Path("x.pt"), {"ema": weights})
    with pytest.raises(CheckpointMismatch, match=r"choose one with 'warm_start\.parts=\{model: ema\}'"):
        source.choose("model")
    assert source.choose("model", named="ema") is weights
