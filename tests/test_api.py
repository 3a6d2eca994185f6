"""What `import runner` offers: runs in Python, and checkpoints for loops of people's own."""

import logging
import random
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import runner
from runner.commands.tools.verify import verify_command
from runner.errors import (
    CheckpointMismatch,
    CheckpointRefused,
    ConfigError,
    NameTaken,
    NonFinite,
    RunFailed,
    RunInUse,
    SaveFailed,
    Unsavable,
)
from tests.support import REPOSITORY
from tests.support.command_line import SMALL, TINY, cli
from tests.support.comparing import difference, entries_of
from tests.support.disk import system_error
from tests.support.processes import environment

WORDS = (*SMALL, "tracker=csv", "epochs=2", "device=cpu")


@pytest.fixture(autouse=True)
def here(work: Path) -> Path:
    """Be in an empty folder."""
    return work


def test_a_run_in_python_is_the_run_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    run = runner.train(*WORDS, "name=a")
    assert cli(capsys, *WORDS, "name=b").code == 0
    other = runner.open("outputs/b")
    assert (
        run.status
        and run.status.state == "finished"
        and run.checkpoints == [Path("outputs/a/checkpoints") / path.name for path in other.checkpoints]
    )
    assert difference(entries_of(Path("outputs/a/last.tar")), entries_of(Path("outputs/b/last.tar"))) is None
    assert run.config["epochs"] == 2 and run.last == Path("outputs/a/last.tar") and "finished" in repr(run)


def test_the_caller_keeps_its_generators_logging_and_arguments() -> None:
    torch.manual_seed(3)
    random.seed(3)
    handlers, argv, deterministic = logging.getLogger().handlers[:], sys.argv[:], torch.initial_seed()
    before = torch.get_rng_state(), random.getstate()
    runner.train(*WORDS, "name=a")
    assert torch.equal(torch.get_rng_state(), before[0]) and random.getstate() == before[1]
    assert (logging.getLogger().handlers, sys.argv, torch.initial_seed()) == (handlers, argv, deterministic)


def test_columns_of_metrics_are_lists_or_a_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    run = runner.train(*WORDS, "name=a")
    with monkeypatch.context() as patched:
        patched.setattr("runner.api.runs.find_spec", lambda name: None)
        columns = run.metrics
    assert columns["step"] == sorted(columns["step"]) and len(columns["val/loss"]) == len(columns["step"])
    pandas = pytest.importorskip("pandas")
    assert isinstance(run.metrics, pandas.DataFrame) and list(run.metrics["step"]) == columns["step"]


def test_a_run_is_continued_evaluated_predicted_and_loaded() -> None:
    run = runner.train(*WORDS, "name=a")
    figures, predictions = run.evaluate("data.split=val"), run.predict("data.split=val")
    assert figures["split"] == "val" and isinstance(predictions, Path) and predictions.exists()
    assert run.status and figures["loss"] == pytest.approx(run.status.best_metric, abs=1e-6)
    assert isinstance(run.load(), nn.Module) and not run.load().training
    assert run.resume("epochs=3").status.epoch == 3  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("words", "kind", "reason"),
    [
        (["epochs=x"], ConfigError, "whole number"),
        (["optimizer.lrr=1"], ConfigError, "did you mean optimizer.lr"),
        (["--help"], ConfigError, "is not an override"),
        ([3], ConfigError, "is not an override"),
        (["-m", "seed=1,2"], ConfigError, "is not an override"),
        (["seed=1,2"], ConfigError, "has several values"),
    ],
)
def test_a_mistake_is_an_exception_of_one_sentence_and_creates_nothing(
    words: Any, kind: type[Exception], reason: str
) -> None:
    with pytest.raises(kind, match=reason):
        runner.train(*words)
    assert not Path("outputs").exists() or not list(Path("outputs").iterdir())


def test_a_taken_name_and_a_failure_are_exceptions() -> None:
    runner.train(*WORDS, "name=a")
    with pytest.raises(NameTaken):
        runner.train(*WORDS, "name=a")
    with pytest.raises(RunFailed, match="outputs/b failed"):
        runner.train(*WORDS, "optimizer.lr=1e30", "optimizer=sgd", "name=b")
    with pytest.raises(ConfigError, match="not the directory of a run"):
        runner.open("outputs")


def test_an_interrupt_finishes_the_step_saves_and_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOP_AT", "3")
    monkeypatch.setenv("STOP_SIGNAL", "SIGINT")
    with pytest.raises(KeyboardInterrupt):
        runner.train(*TINY, "name=a")
    run = runner.open("outputs/a")
    assert run.status and (run.status.state, run.status.step) == ("interrupted", 4)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    monkeypatch.delenv("STOP_AT")
    assert run.resume().status.state == "finished"  # type: ignore[union-attr]


LOOP = """
import os, random, signal, sys, numpy, torch, runner
from torch import nn
torch.manual_seed(0)
random.seed(0)
numpy.random.seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 2))
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
with runner.Checkpoints(sys.argv[1], keep_last=3) as checkpoints:
    restored = checkpoints.restore(model=model, optimizer=optimizer)
    for step in range(restored.step + 1 if restored else 1, 41):
        loss = model(torch.randn(8, 4)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 5 == 0:
            checkpoints.save(step, loss=loss, metrics={"val/loss": loss}, model=model, optimizer=optimizer)
        if str(step) == os.environ.get("KILL_AT"):
            os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_loop_goes_on_bit_for_bit() -> None:
    def loop(directory: str, **variables: str) -> int:
        places = environment(PYTHONPATH=str(REPOSITORY), OMP_NUM_THREADS="1", **variables)
        return subprocess.run([sys.executable, "-c", LOOP, directory], env=places, timeout=120).returncode

    assert loop("whole") == 0
    for step in ("13",):
        assert loop("killed", KILL_AT=step) == -signal.SIGKILL
    assert loop("killed") == 0
    assert difference(entries_of(Path("killed/last.tar")), entries_of(Path("whole/last.tar"))) is None
    assert verify_command(["killed"], as_json=False) == 0


class Counter:
    """A part with a state of its own."""

    def __init__(self) -> None:
        self.count = 0

    def state_dict(self) -> dict[str, int]:
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.count = state["count"]


@pytest.fixture
def checkpoints() -> Iterator["runner.Checkpoints"]:
    """Checkpoints in a folder."""
    with runner.Checkpoints("loop", keep_last=2) as found:
        yield found


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.compile
def test_what_is_saved_is_restored_with_its_wrappers_taken_off(checkpoints: "runner.Checkpoints") -> None:
    assert checkpoints.restore() is None and checkpoints.last is None and checkpoints.best is None
    model, counter = nn.Linear(3, 2), Counter()
    counter.count = 7
    drawn = torch.get_rng_state()
    checkpoints.save(
        5,
        epoch=1,
        metrics={"val/loss": torch.tensor(0.5)},
        extra={"seen": 40, "mask": torch.ones(2)},
        model=nn.DataParallel(torch.compile(model)),
        counter=counter,
    )  # type: ignore[arg-type]
    checkpoints.settle()
    assert set(entries_of(Path("loop/last.tar"))["model_state_dict"]) == {"weight", "bias"}
    fresh, other = nn.Linear(3, 2), Counter()
    torch.rand(3)
    restored = checkpoints.restore(model=fresh, counter=other)
    assert restored and (restored.step, restored.epoch, restored.extra["seen"]) == (5, 1, 40)
    assert torch.equal(fresh.weight, model.weight) and other.count == 7
    assert torch.equal(torch.get_rng_state(), drawn) and checkpoints.best == Path("loop/best.tar")


def test_one_step_saved_twice_is_two_states(checkpoints: "runner.Checkpoints") -> None:
    model = nn.Linear(1, 1)
    for value in (1.0, 2.0):
        nn.init.constant_(model.weight, value)
        checkpoints.save(1, model=model)
    checkpoints.settle()
    assert entries_of(Path("loop/last.tar"))["model_state_dict"]["weight"].item() == 2.0


def test_an_older_checkpoint_sets_the_newer_ones_aside(checkpoints: "runner.Checkpoints") -> None:
    model = nn.Linear(1, 1)
    for step in (1, 2):
        checkpoints.save(step, model=model)
    restored = checkpoints.restore("loop/checkpoints/step_0000000001.tar", model=model)
    assert restored and restored.step == 1
    checkpoints.save(2, model=model)
    checkpoints.settle()
    assert Path("loop/checkpoints/superseded/step_0000000002.tar").exists()


def test_the_tools_take_the_files_of_a_loop(
    checkpoints: "runner.Checkpoints", capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from runner.__main__ import main

    checkpoints.save(1, model=nn.Linear(4, 3))
    checkpoints.settle()
    for words in (
        ["inspect", "loop"],
        ["verify", "loop"],
        ["diff", "loop", "loop"],
        ["export", "loop", "--format", "state_dict"],
        ["export", "loop", "--format", "sharded"],
    ):
        monkeypatch.setattr("sys.argv", ["runner", *words])
        assert main() == 0, capsys.readouterr().err
    assert torch.load(
        "loop/best.pt" if Path("loop/best.pt").exists() else next(Path("loop").rglob("*.pt")), weights_only=True
    ).keys() == {"weight", "bias"}


def test_a_loops_file_starts_no_run_but_a_warm_one(
    checkpoints: "runner.Checkpoints", capsys: pytest.CaptureFixture[str]
) -> None:
    from runner.models import Mlp

    checkpoints.save(1, model=Mlp(4, 2, hidden=[8]))
    checkpoints.settle()
    outcome = cli(capsys, "resume=loop/last.tar", "name=x")
    assert outcome.code == 2 and "saved by a loop of its own" in outcome.err
    with pytest.raises(CheckpointRefused, match="loop of its own"):
        runner.load("loop")
    outcome = cli(capsys, *TINY, "max_steps=1", "warm_start.path=loop/last.tar", "name=x")
    assert outcome.code == 0 and "loaded 4" in outcome.out + outcome.err, outcome.err


def test_mistakes_of_a_loop_are_one_sentence(checkpoints: "runner.Checkpoints") -> None:
    model = nn.Linear(2, 2)
    with pytest.raises(ConfigError, match="extra="):
        checkpoints.save(1, model=model, step_size=3)
    with pytest.raises(ConfigError, match="reserved name"):
        checkpoints.save(1, rng=Counter())
    with pytest.raises(Unsavable, match=r"extra_state_dict\.path"):
        checkpoints.save(1, model=model, extra={"path": Path("x")})
    checkpoints.save(1, model=model)
    checkpoints.settle()
    with pytest.raises(CheckpointMismatch, match="lacks the state of other"):
        checkpoints.restore(model=model, other=nn.Linear(1, 1))
    with pytest.raises(CheckpointMismatch, match="does not fit"):
        checkpoints.restore(model=nn.Linear(3, 2))
    with pytest.raises(RunInUse, match="another Checkpoints of this program"):
        runner.Checkpoints("loop").save(2, model=model)
    for arguments in ({"keep_last": 1}, {"keep_best": 0}, {"keep_every": 0}, {"mode": "most"}):
        with pytest.raises(ConfigError, match="is invalid"):
            runner.Checkpoints("other", **arguments)  # type: ignore[arg-type]


def test_checkpoints_of_another_lineage_are_never_mixed_in(checkpoints: "runner.Checkpoints") -> None:
    checkpoints.save(9, model=nn.Linear(2, 2))
    checkpoints.__exit__()
    with pytest.raises(NameTaken, match="up to step 9; call restore"):
        runner.Checkpoints("loop").save(1, model=nn.Linear(2, 2))
    runner.train(*WORDS, "name=a")
    with pytest.raises(ConfigError, match="directory of a run"):
        runner.Checkpoints("outputs/a")


def full(*_: Any) -> int:
    """Fail as a full disk does."""
    raise system_error(28)


def test_a_spoilt_state_and_a_full_disk_cost_nothing_earlier(
    checkpoints: "runner.Checkpoints", monkeypatch: pytest.MonkeyPatch
) -> None:
    model = nn.Linear(2, 2)
    checkpoints.save(1, model=model)
    with torch.no_grad():
        model.weight[0, 0] = torch.nan
    checkpoints.save(2, model=model)
    with pytest.raises(NonFinite, match=r"model_state_dict\.weight"):
        checkpoints.settle()
    nn.init.ones_(model.weight)
    checkpoints.settle()
    with monkeypatch.context() as patched, pytest.raises(SaveFailed, match="No space left"):
        patched.setattr("runner.files.os.write", full)
        checkpoints.save(3, model=model)
        checkpoints.settle()
    assert entries_of(Path("loop/last.tar"))["global_step"] == 1


def test_a_forgotten_object_lets_the_next_one_save() -> None:
    model = nn.Linear(2, 2)
    first = runner.Checkpoints("loop")
    first.save(1, model=model)
    first.settle()
    del first
    again = runner.Checkpoints("loop")
    assert again.restore(model=model)
    again.save(2, model=model)
    again.settle()


def test_the_page_runs_as_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    page = (REPOSITORY / "docs/python.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(
            compile(block.replace('"epochs=3", "name', '"epochs=3", "device=cpu", "name'), "docs/python.md", "exec"), {}
        )
    assert "<run outputs/digits: finished, step 60, best val/loss 0.4258>" in capsys.readouterr().out
    status = runner.open("outputs/digits").status
    assert status and status.epoch == 4 and entries_of(Path("outputs/mine/last.tar"))["global_step"] == 100
    assert all((REPOSITORY / "docs" / link).is_file() for link in re.findall(r"\]\(([\w.-]+\.\w+)\)", page))
