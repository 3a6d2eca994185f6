"""A checkpoint converts between its forms, and large weights become several files, each read back equal."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from runner.checkpoint.sharded.opening import verify
from runner.checkpoint.writer.whole import write_sharded
from runner.commands.tools.verify import verify_command
from runner.errors import ConfigError
from runner.files import Disk
from runner.wiring.build.objects import trust_of
from runner.wiring.trust.budget import Budget
from tests.support.checkpoints import small_entries
from tests.support.command_line import SMALL, Outcome, cli
from tests.support.comparing import difference, entries_of

RUN = (*SMALL, "model.hidden=[100]", "tracker=none", "max_steps=3", "name=x")
FILE = "outputs/x/last.tar"


@pytest.fixture
def export(work: Path, tool: Callable[..., Outcome], capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """A way to call the tool, in a directory that has a run."""
    assert cli(capsys, *RUN).code == 0
    return partial(tool, "export")


def test_a_file_becomes_a_directory_and_a_file_again(export: Callable[..., Outcome]) -> None:
    assert export(FILE, "--format", "sharded", "--shard-size", "1KB", "--output", "s.tar").code == 0
    assert len(list(Path("s.tar").glob("*.safetensors"))) > 1
    assert export("s.tar", "--format", "general", "--output", "g.tar").code == 0
    assert difference(entries_of(Path("s.tar")), entries_of(Path(FILE))) is None
    assert difference(entries_of(Path("g.tar")), entries_of(Path(FILE))) is None
    assert entries_of(Path("g.tar"))["config"] == entries_of(Path(FILE))["config"]
    assert not list(Path().glob(".*.tmp-*"))


def test_a_directory_is_taken_wherever_a_file_is(
    export: Callable[..., Outcome], capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(FILE, "--format", "sharded", "--output", "s.tar").code == 0
    figures = [json.loads(cli(capsys, "task=evaluate", f"checkpoint_path={path}").out) for path in (FILE, "s.tar")]
    assert figures[0]["loss"] == figures[1]["loss"]
    assert cli(capsys, "resume=s.tar", "name=y", "max_steps=4").code == 0
    assert cli(capsys, *RUN[:-2], "max_steps=1", "warm_start.path=s.tar", "name=z").code == 0
    assert (Path("outputs/y/last.tar")).is_file()


def test_large_weights_are_several_files_with_an_index_that_warm_starts_a_run(
    export: Callable[..., Outcome], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("hub").mkdir()
    words = ("--format", "safetensors", "--shard-size", "1KB", "--output", "hub/model.safetensors")
    outcome = export(FILE, *words)
    assert outcome.code == 0 and "hub/model.safetensors.index.json: the model as safetensors" in outcome.out
    index = json.loads(Path("hub/model.safetensors.index.json").read_text())
    found = {name: load_file(f"hub/{file}")[name] for name, file in index["weight_map"].items()}
    stored = entries_of(Path(FILE))["model_state_dict"]
    assert found.keys() == stored.keys() and all(torch.equal(found[name], stored[name]) for name in stored)
    assert len(set(index["weight_map"].values())) > 1
    assert index["metadata"]["total_size"] == sum(one.numel() * one.element_size() for one in stored.values())
    for name, path in {"a": "hub", "b": "hub/model.safetensors.index.json"}.items():
        outcome = cli(capsys, *RUN[:-2], "max_steps=1", f"warm_start.path={path}", f"name={name}")
        assert outcome.code == 0 and "loaded 4" in outcome.err + outcome.out
    assert export(FILE, *words).code == 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{}", "weight_map names no files"),
        ('{"weight_map": {"a": "../x.safetensors"}}', "weight_map names no files"),
        ('{"weight_map": {"a": "y.safetensors"}}', "no checkpoint at hub/y.safetensors"),
        ('{"weight_map": {"a": "x.safetensors"}}', "has no 'a'"),
        ("[", "is not JSON"),
    ],
)
def test_a_damaged_index_is_told(
    export: Callable[..., Outcome], capsys: pytest.CaptureFixture[str], content: str, reason: str
) -> None:
    Path("hub").mkdir()
    assert export(FILE, "--format", "safetensors", "--output", "hub/x.safetensors").code == 0
    Path("hub/model.safetensors.index.json").write_text(content)
    outcome = cli(capsys, *RUN[:-2], "max_steps=1", "warm_start.path=hub/model.safetensors.index.json", "name=a")
    assert outcome.code == 2 and reason in outcome.err, outcome.err


def test_an_index_and_files_that_are_links_are_read_as_hugging_face_caches_them(
    export: Callable[..., Outcome], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("blobs").mkdir()
    Path("hub").mkdir()
    words = ("--format", "safetensors", "--shard-size", "1KB", "--output", "blobs/model.safetensors")
    assert export(FILE, *words).code == 0
    for path in Path("blobs").iterdir():
        (Path("hub") / path.name).symlink_to(f"../blobs/{path.name}")
    outcome = cli(capsys, *RUN[:-2], "max_steps=1", "warm_start.path=hub", "name=a")
    assert outcome.code == 0 and "loaded 4" in outcome.err + outcome.out, outcome.err


def test_a_failed_export_of_several_files_leaves_none(
    export: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("hub").mkdir()
    words = (FILE, "--format", "safetensors", "--shard-size", "1KB", "--output", "hub/model.safetensors")
    link = Disk.link

    def full(self: Disk, source: Path, target: Path) -> None:
        if target.name.endswith(".json"):
            raise OSError(28, "No space left on device")
        link(self, source, target)

    with monkeypatch.context() as patch:
        patch.setattr(Disk, "link", full)
        outcome = export(*words)
    assert outcome.code == 2 and "No space left" in outcome.err and not list(Path("hub").iterdir())
    assert export(*words).code == 0


def test_what_a_model_may_cost_follows_from_all_files_of_a_directory(export: Callable[..., Outcome]) -> None:
    assert export(FILE, "--format", "sharded", "--output", "s.tar").code == 0
    budget = trust_of((), (), folder=None, source=Path("s.tar")).budget
    assert isinstance(budget, Budget) and budget.size == sum(path.stat().st_size for path in Path("s.tar").iterdir())


def test_by_default_a_copy_is_no_checkpoint_of_the_run(export: Callable[..., Outcome]) -> None:
    step = next(Path("outputs/x/checkpoints").glob("step_*.tar"))
    assert export(str(step), "--format", "sharded").code == 0
    assert Path(f"outputs/x/{step.stem}.sharded.tar/general.tar").is_file()
    assert verify_command(["outputs/x"], as_json=False) == 0


def test_more_shards_than_can_be_read_are_not_written(tmp_path: Path) -> None:
    states = {"model_state_dict": {str(number): torch.ones(1) for number in range(10_000)}}
    with pytest.raises(ConfigError, match="give a larger --shard-size"):
        write_sharded(tmp_path / "x.tar", small_entries(**states), 1, Disk())
    assert not list(tmp_path.iterdir())
    write_sharded(tmp_path / "x.tar", small_entries(**states), 1000, Disk())
    verify(tmp_path / "x.tar")


def test_what_is_there_is_never_overwritten(export: Callable[..., Outcome]) -> None:
    Path("s.tar").mkdir()
    outcome = export(FILE, "--format", "sharded", "--output", "s.tar")
    assert outcome.code == 2 and "s.tar exists already" in outcome.err
    assert export(FILE, "--format", "sharded", "--output", "t.tar").code == 0  # what it advises


def test_a_place_that_is_not_there_is_told(export: Callable[..., Outcome]) -> None:
    outcome = export(FILE, "--format", "general", "--output", "no/s.tar")
    assert outcome.code == 2 and "no is not a folder" in outcome.err
    Path("no").mkdir()
    assert export(FILE, "--format", "general", "--output", "no/s.tar").code == 0  # what it advises


@pytest.mark.parametrize("size", ["5", "5TB", "0GB", "-1GB"])
def test_a_size_that_is_none_is_told(export: Callable[..., Outcome], size: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        export(FILE, "--format", "sharded", "--shard-size", size)
