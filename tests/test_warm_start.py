"""Warm start: every kind of file that people hold, against what is loaded, missing, unexpected and reshaped."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from runner.checkpoint.warm_start import Fitting, fit, strip_wrappers
from runner.errors import CheckpointMismatch
from runner.models import Discriminator, Generator, Mlp
from tests.support import cli, difference, entries_of

DATA = ("data=synthetic", "data.shape=[4]", "data.classes=3", "data.size=32", "batch_size=16", "device=cpu")
NEW = (*DATA, "model=mlp", "model.hidden=[5]", "tracker=none", "max_steps=1", "name=new")


def mlp(*, hidden: int = 5, classes: int = 3) -> Mlp:
    """The model of NEW with weights of its own."""
    torch.manual_seed(1)
    return Mlp(in_features=4, num_classes=classes, hidden=[hidden])


class Compiled(nn.Module):
    """What `torch.compile` makes of a model's names, without its compiler."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._orig_mod = model


def ours(folder: Path, capsys: Any) -> Path:
    assert cli(capsys, *NEW[:-1], "name=old", "seed=7", "ema.decay=0.5").code == 0
    return folder / "outputs/old/last.tar"


def ours_from_a_gan(folder: Path, capsys: Any) -> Path:
    words = ("experiment=gan_digits", "device=cpu", "max_steps=1", "tracker=none", "name=old")
    assert cli(capsys, *words).code == 0
    return folder / "outputs/old/last.tar"


def bare(folder: Path, capsys: Any) -> Path:
    torch.save(mlp().state_dict(), folder / "bare.pth")
    return folder / "bare.pth"


def general(folder: Path, capsys: Any) -> Path:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9)
    content = {
        "epoch": 5,
        "model_state_dict": model.state_dict(),
        "optimizer_state_dict": optimizer.state_dict(),
        "loss": 0.4,
    }
    torch.save(content, folder / "model.tar")
    return folder / "model.tar"


def multiple(folder: Path, capsys: Any) -> Path:
    content = {"modelA_state_dict": mlp(hidden=9).state_dict(), "modelB_state_dict": mlp().state_dict()}
    torch.save(content, folder / "several.tar")
    return folder / "several.tar"


def of_data_parallel(folder: Path, capsys: Any) -> Path:
    torch.save(nn.DataParallel(mlp()).state_dict(), folder / "dp.pt")
    return folder / "dp.pt"


def compiled(folder: Path, capsys: Any) -> Path:
    torch.save(Compiled(mlp()).state_dict(), folder / "compiled.pt")
    return folder / "compiled.pt"


def of_data_parallel_of_compiled(folder: Path, capsys: Any) -> Path:
    torch.save(nn.DataParallel(Compiled(mlp())).state_dict(), folder / "both.pt")
    return folder / "both.pt"


def safetensors(folder: Path, capsys: Any) -> Path:
    save_file(mlp().state_dict(), folder / "model.safetensors")
    return folder / "model.safetensors"


def of_another_width(folder: Path, capsys: Any) -> Path:
    torch.save(mlp(hidden=9).state_dict(), folder / "wide.pt")
    return folder / "wide.pt"


def of_another_head(folder: Path, capsys: Any) -> Path:
    torch.save(mlp(classes=8).state_dict(), folder / "head.pt")
    return folder / "head.pt"


HEAD = ["layers.4.weight", "layers.4.bias"]
BODY = ["layers.1.weight", "layers.1.bias"]
ALL = [*BODY, *HEAD]

# source, words, exit code, loaded, reshaped
SOURCES = [
    (ours, (), 0, ALL, []),
    (ours, ("warm_start.weights=ema",), 0, ALL, []),
    (ours_from_a_gan, ("warm_start.parts={model: discriminator}",), 2, [], []),
    (bare, (), 0, ALL, []),
    (general, (), 0, ALL, []),
    (multiple, ("warm_start.parts={model: modelB}",), 0, ALL, []),
    (of_data_parallel, (), 0, ALL, []),
    (compiled, (), 0, ALL, []),
    (of_data_parallel_of_compiled, (), 0, ALL, []),
    (safetensors, (), 0, ALL, []),
    (of_another_width, (), 2, [], []),
    (of_another_head, (), 0, BODY, HEAD),
]


@pytest.mark.parametrize(
    ("source", "words", "code", "loaded", "reshaped"), SOURCES, ids=[f"{s[0].__name__}{s[1]}" for s in SOURCES]
)
def test_a_source_is_loaded_as_far_as_it_fits_and_said_so(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
    source: Callable[..., Path],
    words: tuple[str, ...],
    code: int,
    loaded: list[str],
    reshaped: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    path = source(tmp_path, capsys)
    outcome = cli(capsys, *NEW, f"warm_start.path={path}", *words)
    assert outcome.code == code, outcome.err
    if code:
        assert outcome.err.startswith("error: ") and not (tmp_path / "outputs/new").exists()
        return
    report = json.loads((tmp_path / "outputs/new/warm_start.json").read_text())["models"]["model"]
    assert (report["loaded"], list(report["reshaped"])) == (loaded, reshaped)
    assert (report["missing"], report["unexpected"], report["partial"]) == ([], [], [])


@pytest.mark.parametrize("make", [bare, general, of_data_parallel_of_compiled, safetensors])
def test_the_weights_that_training_begins_with_are_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, make: Callable[..., Path]
) -> None:
    monkeypatch.chdir(tmp_path)
    frozen = "warm_start.freeze=[layers]"
    words = ("warm_start.exclude=[layers.4.bias]", frozen, f"warm_start.path={make(tmp_path, capsys)}")
    assert cli(capsys, *NEW, *words).code == 0
    trained, source = entries_of(Path("outputs/new/last.tar"))["model_state_dict"], mlp().state_dict()
    assert [name for name in source if torch.equal(trained[name], source[name])] == [*BODY, "layers.4.weight"]


def test_a_gans_part_feeds_a_gans_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    path = ours_from_a_gan(tmp_path, capsys)
    words = ("experiment=gan_digits", "device=cpu", "max_steps=1", "tracker=none", "seed=3", "name=new")
    assert cli(capsys, *words, f"warm_start.path={path}", "warm_start.parts={generator: generator}").code == 0
    report = json.loads(Path("outputs/new/warm_start.json").read_text())["models"]
    assert list(report) == ["generator"] and not report["generator"]["missing"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("warm_start.path=absent.pt",), "there is no checkpoint at absent.pt"),
        (("warm_start.path=bare.pth", "warm_start.rename=['layers=other']"), "nothing of it was found"),
        (("warm_start.path=bare.pth", "warm_start.rename=['(=x']"), "no regular expression"),
        (("warm_start.path=bare.pth", "warm_start.rename=[x]"), "write pattern=replacement"),
        (("warm_start.path=bare.pth", "warm_start.freeze=[conv]"), "matches no loaded parameter"),
        (("warm_start.path=bare.pth", "warm_start.freeze=[.]"), "no parameter to train"),
        (("warm_start.path=bare.pth", "warm_start.weights=ema"), "no moving average"),
        (("warm_start.path=bare.pth", "warm_start.parts={model: other}"), "no part 'other'"),
        (("warm_start.path=bare.pth", "warm_start.parts={other: model}"), "the models are model"),
        (("warm_start.path=head.pt", "warm_start.strict=true"), "exactly"),
        (("warm_start.path=head.pt", "warm_start.min_matched=0.9"), "50% of its names"),
        (("warm_start.path=head.pt", "warm_start.min_matched=2"), "in \\[0, 1\\]"),
        (("warm_start.path=several.tar",), "choose one with warm_start.parts"),
        (("warm_start.path=code.pt",), "nothing in it was executed|not a checkpoint"),
        (("warm_start.path=text.safetensors",), "damaged"),
    ],
)
def test_a_wrong_match_is_never_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, words: tuple[str, ...], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for make in (bare, multiple, of_another_head):
        make(tmp_path, capsys)
    torch.save(mlp(), tmp_path / "code.pt")  # a whole pickled module
    (tmp_path / "text.safetensors").write_text("no tensors")
    outcome = cli(capsys, *NEW, *words)
    assert outcome.code == 2 and not Path("outputs").exists()
    assert re.search(says, outcome.err), outcome.err
    assert "Traceback" not in outcome.err and "weights_only=False" not in outcome.err


def test_a_run_with_frozen_parameters_resumes_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [*NEW[:-2], "model.dropout=0.3", f"warm_start.path={bare(tmp_path, capsys)}"]
    words += ["warm_start.freeze=[layers.1]", "ema.decay=0.8", "checkpoint.every_steps=1", "checkpoint.keep_last=9"]
    assert cli(capsys, *words, "epochs=3", "name=whole").code == 0
    whole = Path("outputs/whole")
    third = whole / "checkpoints/step_0000000003.tar"
    assert cli(capsys, f"resume={third}", "name=fork").code == 0
    one, other = entries_of(whole / "last.tar"), entries_of(Path("outputs/fork/last.tar"))
    assert difference(one, other) is None
    assert one["optimizer_state_dict"]["param_groups"][0]["param_names"] == HEAD
    assert torch.equal(one["model_state_dict"]["layers.1.weight"], mlp().state_dict()["layers.1.weight"])


def test_a_layer_of_which_a_part_does_not_fit_is_left_alone() -> None:
    own, found = nn.Linear(3, 4).state_dict(), nn.Linear(2, 4).state_dict()
    weights, report = fit(own, found, Fitting())
    assert report.loaded == [] and list(report.reshaped) == ["weight"] and report.partial == ["bias"]
    assert all(torch.equal(weights[name], own[name]) for name in own)


def test_renaming_two_names_to_one_is_refused() -> None:
    found = {"a.weight": torch.ones(1), "b.weight": torch.ones(1)}
    with pytest.raises(CheckpointMismatch, match=r"both a\.weight and b\.weight"):
        fit({"c.weight": torch.ones(1)}, found, Fitting(rename=["^[ab]=c"]))


def test_a_model_whose_own_names_have_a_module_keeps_them() -> None:
    own = ["module.fc.weight", "fc.weight", "head.module.bias"]
    found = ["module.fc.weight", "fc.weight", "module._orig_mod.head.bias"]
    assert list(strip_wrappers(own, found).values()) == own


def test_files_of_the_gans_own_models_load_in_plain_pytorch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    entries = torch.load(ours_from_a_gan(tmp_path, capsys), weights_only=True)
    Generator(64, 1, (32, 32)).load_state_dict(entries["generator_state_dict"])
    Discriminator(1, (32, 32)).load_state_dict(entries["discriminator_state_dict"])
