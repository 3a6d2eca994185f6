"""docs/warm-start.md: each row of its table is run, and its counts, its report and every tensor are compared."""

import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from runner.models import LeNet, Mlp
from tests.support import REPOSITORY
from tests.support.command_line import Outcome, cli
from tests.support.comparing import entries_of

PAGE = (REPOSITORY / "docs/warm-start.md").read_text()
KINDS = ("loaded", "missing", "unexpected", "reshaped")
# At this rate a step changes no bit of a weight, so that a run ends with the weights that it began with.
STILL = ("device=cpu", "max_steps=1", "tracker=none", "optimizer.lr=1e-30")

Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Row:
    """What the page says of one source."""

    source: str
    words: list[str]
    counts: dict[str, int]
    """By kind; empty where the file is not even compared."""
    exit: int

    @property
    def path(self) -> str:
        """The file that it starts from."""
        return next(word.partition("=")[2] for word in self.words if word.startswith("warm_start.path="))

    @property
    def other_words(self) -> list[str]:
        """Those of the same run from scratch."""
        return [word for word in self.words if not word.startswith("warm_start.")]


def _row(line: str) -> Row:
    source, words, *counts, code = (cell.strip() for cell in line.strip("|\n").split(" | "))
    found = {} if "-" in counts else dict(zip(KINDS, map(int, counts), strict=True))
    return Row(source, shlex.split(words.strip("`")), found, int(code.rstrip(" |")))


ROWS = [_row(line) for line in re.findall(r"^\| .*`.*warm_start\.path=.*$", PAGE, re.MULTILINE)]


def lenet(*, classes: int = 10) -> LeNet:
    torch.manual_seed(1)
    return LeNet(1, (32, 32), classes)


def narrow() -> LeNet:
    model = lenet()
    model.fc2, model.fc3 = nn.Linear(120, 64), nn.Linear(64, 10)
    return model


def general() -> dict[str, Any]:
    model = lenet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9)
    state = {"model_state_dict": model.state_dict(), "optimizer_state_dict": optimizer.state_dict()}
    return {"epoch": 5, **state, "loss": 0.4}


def several() -> dict[str, Any]:
    return {"modelA_state_dict": narrow().state_dict(), "modelB_state_dict": lenet().state_dict()}


def older() -> dict[str, Tensor]:
    return {re.sub("^fc3", "classifier", name): value for name, value in lenet().state_dict().items()}


def mlp() -> nn.Module:
    return Mlp(in_features=1024, num_classes=10, hidden=[8])


FILES: dict[str, Callable[[], Any]] = {
    "lenet.pth": lambda: lenet().state_dict(),
    "general.tar": general,
    "several.tar": several,
    "parallel.pt": lambda: nn.DataParallel(lenet()).state_dict(),
    "compiled.pt": lambda: torch.compile(lenet(), backend="eager").state_dict(),
    "both.pt": lambda: nn.DataParallel(torch.compile(lenet(), backend="eager")).state_dict(),
    "narrow.pt": lambda: narrow().state_dict(),
    "letters.pt": lambda: lenet(classes=26).state_dict(),
    "older.pt": older,
    "mlp.pt": lambda: mlp().state_dict(),
}
RUNS = {
    "outputs/x/last.tar": ("ema.decay=0.5",),
    "outputs/gan/last.tar": ("experiment=gan_digits",),
}
# The weights of a file, under the names that they have in our models, where these are not LeNet's of `lenet()`.
SOURCES: dict[str, Callable[[], Weights]] = {
    "its moving average": lambda: entries_of(Path("outputs/x/last.tar"))["ema_state_dict"],
    "a checkpoint of this program": lambda: entries_of(Path("outputs/x/last.tar"))["model_state_dict"],
    "one model of a GAN": lambda: entries_of(Path("outputs/gan/last.tar"))["generator_state_dict"],
    "another width: fc2 has 64 units": lambda: narrow().state_dict(),
    "another head: 26 classes": lambda: lenet(classes=26).state_dict(),
    "the same, the head left out": lambda: lenet(classes=26).state_dict(),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of the page; the runs are added by who needs them."""
    work = tmp_path_factory.mktemp("sources")
    for name, make in FILES.items():
        torch.save(make(), work / name)
    save_file(lenet().state_dict(), work / "lenet.safetensors")
    return work


@pytest.fixture(autouse=True)
def work(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of all tests here, which is the current one."""
    monkeypatch.chdir(folder)
    yield folder


def run_once(capsys: Any, name: str, *words: str) -> None:
    """Make a run from scratch that several rows need."""
    if not Path("outputs", name).exists():
        assert cli(capsys, f"name={name}", "device=cpu", "max_steps=1", "tracker=none", *words).code == 0


def states(name: str) -> dict[str, Weights]:
    """Return the weights of a run's models, by model."""
    entries = entries_of(Path("outputs", name, "last.tar"))
    names = ("model", "generator", "discriminator")
    return {model: entries[f"{model}_state_dict"] for model in names if f"{model}_state_dict" in entries}


def printed_counts(outcome: Outcome) -> dict[str, int]:
    """Return the counts of the report that a run printed; of a kind without names it prints nothing."""
    said = outcome.out + outcome.err
    assert re.search(r"\bloaded \d+", said), said
    found = {kind: re.search(rf"\b{kind} (\d+)", said) for kind in KINDS}
    return {kind: int(match[1]) if match else 0 for kind, match in found.items()}


@pytest.mark.parametrize("index", range(len(ROWS)), ids=[row.source.replace(" ", "_") for row in ROWS])
def test_a_row_of_the_page_is_true(capsys: Any, index: int) -> None:
    row, name = ROWS[index], f"new-{index}"
    if row.path in RUNS:
        run_once(capsys, row.path.split("/")[1], "seed=7", *RUNS[row.path])
    before = sorted(Path.cwd().rglob("*"))
    outcome = cli(capsys, f"name={name}", *STILL, *row.words)
    assert outcome.code == row.exit, outcome.err
    assert not row.counts or printed_counts(outcome) == row.counts
    if row.exit:
        assert outcome.err.startswith("error: ") and sorted(Path.cwd().rglob("*")) == before
    else:
        assert_true_report(capsys, row, name)


def assert_true_report(capsys: Any, row: Row, name: str) -> None:
    """What is reported as loaded is the file's, bit for bit; all else is that of the run from scratch."""
    scratch = f"scratch-{'-'.join(row.other_words).replace('=', '-')}"
    run_once(capsys, scratch, *STILL[3:], *row.other_words)
    stored = json.loads(Path("outputs", name, "warm_start.json").read_text())
    assert stored["path"] == row.path
    (reported,) = stored["models"].values()
    assert {kind: len(reported[kind]) for kind in KINDS} == row.counts
    source = SOURCES.get(row.source, lambda: lenet().state_dict())()
    own, (model,) = states(scratch), stored["models"]
    assert not any(torch.equal(source[key], own[model][key]) for key in reported["loaded"])
    wanted = {**own, model: {**own[model], **{key: source[key] for key in reported["loaded"]}}}
    for part, weights in states(name).items():
        assert [key for key in weights if not torch.equal(weights[key], wanted[part][key])] == []


def test_the_page_has_every_source() -> None:
    assert {row.path for row in ROWS} == {*FILES, *RUNS, "lenet.safetensors"}
    assert SOURCES.keys() <= {row.source for row in ROWS}
    assert len(ROWS) == 19 and sum(row.exit == 2 for row in ROWS) == 4


def test_the_page_names_every_key() -> None:
    (table,) = re.findall(r"^\| key of `warm_start` .*?\n\n", PAGE, re.MULTILINE | re.DOTALL)
    cells = re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE)
    named = {key for cell in cells for key in re.findall(r"`(\w+)", cell)}
    assert named == {"weights", "parts", "rename", "include", "exclude", "freeze", "strict", "min_matched"}


def test_torchs_wrappers_put_the_names_there_that_the_files_have() -> None:
    assert all(name.startswith("module.") for name in torch.load("parallel.pt", weights_only=True))
    assert all(name.startswith("_orig_mod.") for name in torch.load("compiled.pt", weights_only=True))
    assert all(name.startswith("module._orig_mod.") for name in torch.load("both.pt", weights_only=True))
