"""`python -m runner average`: the mean of the weights of several checkpoints, as a checkpoint of its own."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import runner
from runner.checkpoint.format import compose_entries, read_entries
from runner.checkpoint.writer.whole import write_sharded
from runner.files import Disk
from tests.support.checkpoints import small_entries, write_entries
from tests.support.command_line import SMALL, Outcome, cli, trained_in

Tool = Callable[..., Outcome]
CONFIG = "model: {_target_: a.B, size: 3}\n"


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a checkpoint of a model with the given state."""

    def make(name: str, *, config: str = CONFIG, **states: Any) -> Path:
        path = tmp_path / name
        changes = {f"{part}_state_dict": state for part, state in states.items()}
        with open(path, "wb") as file:
            write_entries(file, small_entries(config=config, **changes))
        return path

    return make


def averaged(tool: Tool, output: Path, *files: Path) -> dict[str, Any]:
    outcome = tool("average", *files, "--output", output)
    assert outcome.code == 0, outcome.err
    return read_entries(output)


def test_floating_tensors_are_averaged_in_double_precision_and_the_rest_is_the_last_files(
    made: Callable[..., Path], tmp_path: Path, tool: Tool
) -> None:
    values = [torch.tensor([1e8, 1.0]), torch.tensor([1.0, 2.0]), torch.tensor([-1e8, 4.0])]
    files = [
        made(
            f"{count}.tar", model={"w": value, "h": value.half()[1:], "z": value * 1j, "n": torch.tensor(count), "x": 3}
        )
        for count, value in enumerate(values)
    ]
    state = averaged(tool, tmp_path / "new.tar", *files)["model_state_dict"]
    wide = torch.stack(values).double().mean(0)
    assert torch.equal(state["w"], wide.float()) and float(state["w"][0]) == torch.tensor(1 / 3).item()
    assert state["h"].dtype is torch.half and torch.equal(state["h"], wide[1:].half())
    assert state["z"].dtype is torch.complex64 and torch.equal(state["z"], (wide * 1j).to(torch.complex64))
    assert int(state["n"]) == 2 and state["x"] == 3


def test_the_file_says_what_it_is_made_of_and_claims_no_measurement(
    made: Callable[..., Path], tmp_path: Path, tool: Tool
) -> None:
    files = [made("a.tar", optimizer={"state": {}}), made("b.tar", optimizer={"state": {}})]
    entries = averaged(tool, tmp_path / "new.tar", *files)
    assert [one["checkpoint"] for one in entries["averaged_from"]] == [str(file) for file in files]
    assert entries["averaged_from"][0]["global_step"] == 7 and entries["metrics"] == {} and math.isnan(entries["loss"])
    assert "optimizer_state_dict" not in entries and tool("verify", tmp_path / "new.tar").code == 0
    assert "averaged_from" in tool("inspect", tmp_path / "new.tar").out


def test_moving_averages_are_averaged_and_every_model_of_several(
    made: Callable[..., Path], tmp_path: Path, tool: Tool
) -> None:
    config = "model: {generator: {_target_: a.G}, critic: {_target_: a.C}}\n"
    parts = ("generator", "critic", "generator_ema")
    files = [
        made(f"{value}.tar", config=config, **{part: {"w": torch.full((2,), value)} for part in parts})
        for value in (1.0, 3.0)
    ]
    entries = averaged(tool, tmp_path / "new.tar", *files)
    assert all(torch.equal(entries[f"{part}_state_dict"]["w"], torch.full((2,), 2.0)) for part in parts)


def test_the_statistics_of_batchnorm_are_averaged_and_the_message_says_so(
    made: Callable[..., Path], tmp_path: Path, tool: Tool
) -> None:
    layers = [torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)]
    layers[1](torch.randn(5, 2, generator=torch.Generator().manual_seed(0)))
    files = [made(f"{number}.tar", model=layer.state_dict()) for number, layer in enumerate(layers)]
    outcome = tool("average", *files, "--output", tmp_path / "new.tar")
    state = read_entries(tmp_path / "new.tar")["model_state_dict"]
    assert "BatchNorm" in outcome.out and "not re-estimated" in outcome.out and int(state["num_batches_tracked"]) == 1
    assert torch.equal(state["running_mean"], (layers[1].running_mean.double() / 2).float())  # type: ignore[union-attr]
    assert "BatchNorm" not in tool("average", made("c.tar"), made("d.tar"), "--output", tmp_path / "e.tar").out


def test_tied_weights_stay_tied(made: Callable[..., Path], tmp_path: Path, tool: Tool) -> None:
    files = []
    for value in (0.0, 1.0):
        tied = torch.full((4,), value)
        files.append(made(f"{value}.tar", model={"one": tied, "other": tied}))
    state = averaged(tool, tmp_path / "new.tar", *files)["model_state_dict"]
    assert state["one"].untyped_storage().data_ptr() == state["other"].untyped_storage().data_ptr()
    assert torch.equal(state["other"], torch.full((4,), 0.5))


@pytest.mark.parametrize(
    ("config", "state", "why"),
    [
        ("model: {_target_: a.C, size: 3}\n", None, "model._target_ is 'a.B' and 'a.C'"),
        ("model: {_target_: a.B, size: 4}\n", None, "model.size is 3 and 4"),
        (CONFIG, {"weight": torch.zeros(2, 4), "bias": torch.zeros(2)}, "model.weight is torch.float32 (2, 3) and"),
        (CONFIG, {"weight": torch.zeros(2, 3).half(), "bias": torch.zeros(2)}, "and torch.float16 (2, 3)"),
        (CONFIG, {"weight": torch.zeros(2, 3)}, "model.bias is in one only"),
    ],
)
def test_files_of_different_models_are_refused_with_the_difference(
    made: Callable[..., Path], tmp_path: Path, tool: Tool, config: str, state: Any, why: str
) -> None:
    other = {} if state is None else {"model": state}
    outcome = tool("average", made("a.tar"), made("b.tar", config=config, **other), "--output", tmp_path / "new.tar")
    assert outcome.code == 2 and why in outcome.err and outcome.err.count("\n") == 1
    assert not (tmp_path / "new.tar").exists()


def test_a_model_with_and_one_without_a_moving_average_are_different(
    made: Callable[..., Path], tmp_path: Path, tool: Tool
) -> None:
    ema = {"weight": torch.zeros(2, 3), "bias": torch.zeros(2)}
    outcome = tool("average", made("a.tar"), made("b.tar", ema=ema), "--output", tmp_path / "new.tar")
    assert outcome.code == 2 and "only one has ema_state_dict" in outcome.err


def test_an_output_that_cannot_be_is_refused_and_nothing_is_overwritten(
    made: Callable[..., Path], tmp_path: Path, tool: Tool
) -> None:
    files = [made("a.tar"), made("b.tar")]
    (tmp_path / "run/checkpoints").mkdir(parents=True)
    (tmp_path / "run/status.json").write_text("{}")
    before = files[0].read_bytes()
    places = ("a.tar", "new.pt", "none/new.tar", "run/checkpoints/step_0000000099.tar", "run/last.tar", "run/best.tar")
    for output in places:
        outcome = tool("average", *files, "--output", tmp_path / output)
        assert outcome.code == 2 and "name another --output" in outcome.err and outcome.err.count("\n") == 1
    assert files[0].read_bytes() == before and tool("average", *files, "--output", tmp_path / "run/mean.tar").code == 0
    assert not list(tmp_path.rglob(".*tmp*"))


def test_one_file_has_no_mean_and_none_counts_twice(made: Callable[..., Path], tmp_path: Path, tool: Tool) -> None:
    one = made("a.tar")
    (tmp_path / "b.tar").hardlink_to(one)
    for files in ((one,), (one, one), (one, tmp_path / "b.tar")):
        outcome = tool("average", *files, "--output", tmp_path / "new.tar")
        assert outcome.code == 2 and "name" in outcome.err


def test_sharded_checkpoints_are_averaged_like_files(made: Callable[..., Path], tmp_path: Path, tool: Tool) -> None:
    one = made("a.tar", model={"w": torch.zeros(4, 2)})
    entries = small_entries(config=CONFIG, model_state_dict={"w": torch.ones(4, 2)})
    write_sharded(tmp_path / "b.tar", entries, 10**9, Disk())
    state = averaged(tool, tmp_path / "new.tar", one, tmp_path / "b.tar")["model_state_dict"]
    assert torch.equal(state["w"], torch.full((4, 2), 0.5))


def test_a_mean_starts_a_run_but_is_not_resumed(work: Path, capsys: pytest.CaptureFixture[str], tool: Tool) -> None:
    trained_in(work, *SMALL, "tracker=none", "epochs=3", "name=x", "checkpoint.keep_last=3")
    files = sorted((work / "outputs/x/checkpoints").glob("*.tar"))
    mean = averaged(tool, work / "mean.tar", *files)["model_state_dict"]
    expected = [read_entries(file)["model_state_dict"] for file in files]
    for name, value in mean.items():
        assert torch.equal(value, (sum(state[name].double() for state in expected) / 3).float())
    loaded = runner.load("mean.tar").state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in mean.items())
    outcome = cli(capsys, "task=evaluate", "checkpoint_path=mean.tar")
    assert outcome.code == 0 and json.loads(outcome.out.splitlines()[-1])["checkpoint"] == "mean.tar"
    started = cli(capsys, *SMALL, "tracker=none", "max_steps=1", "name=y", "warm_start.path=mean.tar")
    assert started.code == 0 and tool("export", "mean.tar", "--format", "state_dict").code == 0
    refused = cli(capsys, "resume=mean.tar", "name=z")
    assert refused.code == 2 and "warm_start.path=mean.tar" in refused.err and not (work / "outputs/z").exists()


def test_a_learner_keeps_its_latest_state(work: Path, made: Callable[..., Path], tool: Tool) -> None:
    learners = [compose_entries({"learner": torch.nn.Linear(1, 1)}, {})["learner_state_dict"] for _ in range(2)]
    files = [made(f"{number}.tar", learner=state) for number, state in enumerate(learners)]
    entries = averaged(tool, work / "new.tar", *files)
    assert torch.equal(entries["learner_state_dict"]["weight"], learners[1]["weight"])
