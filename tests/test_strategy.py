"""Devices are chosen or refused with a sentence, and no wrapping reaches a file."""

import pickle
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from runner.errors import ConfigError, DeviceMissing, RunnerError
from runner.learners import Classification
from runner.strategy import choosing, devices
from runner.strategy.choosing import resolve_strategy
from runner.strategy.devices import Devices, choose_devices
from runner.strategy.distributed.exchange import Exchange
from runner.strategy.precision import Precision, set_matmuls
from runner.strategy.processes import Alone
from runner.strategy.strategies import DataParallel, Single, in_callers_format
from runner.wiring.build.objects import choose_strategy
from tests.support.command_line import SMALL, cli, config_of
from tests.support.comparing import assert_same_run


def pretend(monkeypatch: Any, gpus: int) -> None:
    """Let the machine seem to have so many GPUs."""
    here = {"cuda": gpus, "cpu": 1} if gpus else {"cpu": 1}
    monkeypatch.setattr(devices, "available", lambda: here)
    monkeypatch.setattr(choosing, "available", lambda: here)


def resolved(name: str, index: Any) -> tuple[type, Devices]:
    """Return the strategy's class, and the devices, of one process."""
    exchange = Exchange(9.0, find_unused=False, units=(), cpu_offload=False, sync_batchnorm=False)
    strategy, chosen = resolve_strategy(name, choose_devices("cuda", index), index, Alone(), exchange)
    return type(strategy), chosen


def test_auto_takes_the_best_kind(monkeypatch: Any) -> None:
    pretend(monkeypatch, 0)
    assert str(choose_devices("auto", None)) == "cpu"
    pretend(monkeypatch, 2)
    assert str(choose_devices("auto", 1)) == "cuda:1"


def test_what_is_absent_is_refused_with_what_is_there(monkeypatch: Any) -> None:
    pretend(monkeypatch, 2)
    with pytest.raises(DeviceMissing, match="0 to 1"):
        choose_devices("cuda", 2)
    with pytest.raises(DeviceMissing, match="2 x cuda, cpu"):
        choose_devices("mps", None)
    with pytest.raises(ConfigError, match="has no meaning"):
        choose_devices("cpu", 0)


def test_several_visible_gpus_make_auto_data_parallel_unless_one_is_named(monkeypatch: Any) -> None:
    pretend(monkeypatch, 2)
    assert resolved("auto", None) == (DataParallel, Devices("cuda", (0, 1)))
    assert resolved("auto", 1) == (Single, Devices("cuda", (1,)))
    assert resolved("single", None) == (Single, Devices("cuda", (0,)))
    with pytest.raises(ConfigError, match="one device"):
        resolved("single", [0, 1])


def test_data_parallel_on_a_cpu_passes_through_and_leaves_the_bare_names() -> None:
    model = nn.Linear(3, 2)
    wrapped = DataParallel(Devices("cpu")).wrap(model)
    inputs = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(wrapped(inputs), model(inputs))
    assert list(model.state_dict()) == ["weight", "bias"]


def test_a_replicas_thread_computes_in_the_format_of_its_caller() -> None:
    found: list[torch.dtype] = []
    inputs = torch.ones(2, 3)

    def in_a_thread(function: Any) -> torch.dtype:
        thread = threading.Thread(target=lambda: found.append(function(inputs).dtype))
        thread.start()
        thread.join()
        return found.pop()

    model = nn.Linear(3, 2)
    assert in_a_thread(in_callers_format("cpu")(model)) is torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        own = in_callers_format("cpu")
        assert in_a_thread(model) is torch.float32  # which is why
    assert in_a_thread(own(model)) is torch.bfloat16


def test_a_resume_keeps_to_the_kind_and_number_of_devices_unless_it_is_told(monkeypatch: Any) -> None:
    pinned = {"device_kind": "cuda", "devices": 2, "strategy": "data_parallel"}
    pretend(monkeypatch, 2)
    assert choose_strategy(config_of(), pinned, Alone())[0].name == "data_parallel"
    pretend(monkeypatch, 1)
    for kind in ("auto", "cuda"):
        with pytest.raises(ConfigError, match="used 2 cuda devices and this machine has 1"):
            choose_strategy(config_of(f"device={kind}"), pinned, Alone())
    assert str(choose_strategy(config_of("device=cuda", "device.index=0"), pinned, Alone())[1]) == "cuda:0"
    assert choose_strategy(config_of("device=cpu"), pinned, Alone())[0].name == "single"
    pretend(monkeypatch, 2)
    of_four = {"device_kind": "cuda", "devices": 1, "strategy": "ddp", "processes": 4}
    assert choose_strategy(config_of(), of_four, Alone())[0].name == "data_parallel"
    pretend(monkeypatch, 0)
    with pytest.raises(DeviceMissing):
        choose_strategy(config_of(), pinned, Alone())


def test_several_processes_are_refused_for_what_one_does(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLURM_PROCID", "1")
    for rank, size, refused in (("0", "2", True), ("1", "2", True), ("0", "1", False)):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("WORLD_SIZE", size)
        for words in (["task=evaluate"], ["task=predict"], ["task=check_resume"], ["-m", "seed=0,1", "name=s"]):
            outcome = cli(capsys, *words, "nonsense=1")  # which is looked at later
            assert outcome.code == 2 and ("without torchrun" in outcome.err) is refused, outcome.err
    assert not list(work.iterdir())


@pytest.mark.parametrize("format_", ["fp32", "fp16"])
def test_clipping_is_of_the_gradient_itself_whatever_a_scaler_multiplies_it_by(format_: str) -> None:
    gradient = torch.tensor([3.0, -0.25, -4.0])
    for options, expected in (
        ({}, gradient),
        ({"clip_value": 0.5}, torch.tensor([0.5, -0.25, -0.5])),
        ({"clip_norm": 1.0}, gradient / gradient.norm()),
    ):
        weight = nn.Parameter(torch.zeros(3))
        optimizer, precision = torch.optim.SGD([weight], lr=1.0), Precision(format_, torch.device("cpu"))
        for share in (0.25, 0.75):
            precision.backward((weight * gradient).sum(), share)
        precision.step(optimizer, **options)
        torch.testing.assert_close(weight.detach(), -expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "changes", [{"scale": -1.0}, {"scale": float("inf")}, {"growth_factor": 9.0}, {"_growth_tracker": "x"}], ids=str
)
def test_a_scaler_takes_no_state_that_it_could_not_come_to(changes: dict[str, Any]) -> None:
    precision = Precision("fp16", torch.device("cpu"))
    state = precision.state_dict() | {"scale": 8.0, "_growth_tracker": 3}
    precision.load_state_dict(state)
    with pytest.raises(ValueError, match="not a state of a scaler"):
        precision.load_state_dict(state | changes)


def test_every_error_of_the_runner_arrives_in_another_process_as_it_is() -> None:
    kinds = [RunnerError]
    for kind in kinds:
        kinds += [one for one in kind.__subclasses__() if one.__module__ == "runner.errors"]
        error = pickle.loads(pickle.dumps(kind("what was wrong, and the way out")))
        assert type(error) is kind and str(error) == "what was wrong, and the way out"
    assert len(kinds) > 20


def test_tf32_is_for_matrices_on_cuda_and_ends_with_the_next_run() -> None:
    cuda, cpu = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = cpu.fp32_precision
    for name in ("bf16", "tf32", "tf32", "fp32"):
        set_matmuls(name)
        assert (cuda.fp32_precision == "tf32") is cuda.allow_tf32 is (name == "tf32")
        assert cpu.fp32_precision == before


def test_a_run_with_tf32_is_one_with_float32_on_a_cpu_and_its_file_is_evaluated_so(runs: Path, capsys: Any) -> None:
    for name, words in (("x", ()), ("y", ("device.precision=tf32",))):
        assert cli(capsys, *SMALL, "max_steps=2", *words, f"name={name}").code == 0
    assert_same_run(runs / "x", runs / "y")
    assert torch.backends.cuda.matmul.allow_tf32
    assert cli(capsys, "task=evaluate", f"checkpoint_path={runs / 'x'}").code == 0
    assert not torch.backends.cuda.matmul.allow_tf32


def test_models_are_compiled_with_the_mode_and_the_shapes_of_the_config(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Any] = []
    monkeypatch.setattr(torch, "compile", lambda model, **options: found.append(options) or model)
    words = ("device=cpu", "device.compile=true")
    for more in ((), ("device.compile_mode=reduce-overhead", "device.compile_dynamic=false")):
        choose_strategy(config_of(*words, *more), {}, Alone())[0].wrap(nn.Linear(1, 1))
    assert found == [{"mode": "default", "dynamic": None}, {"mode": "reduce-overhead", "dynamic": False}]


def test_what_is_of_a_compiler_needs_it() -> None:
    for word in ("device.compile_mode=max-autotune", "device.compile_dynamic=true", "device.compile_dynamic=false"):
        with pytest.raises(ConfigError, match=f"^{word} is invalid; use it with device.compile=true$"):
            config_of(word)


def test_a_file_of_a_compiled_run_is_evaluated_uncompiled(
    work: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", lambda model, **_: model)
    words = ("device.compile=true", "device.compile_mode=reduce-overhead", "device.compile_dynamic=true")
    assert cli(capsys, *SMALL, "max_steps=2", *words, "name=x").code == 0
    monkeypatch.setattr(torch, "compile", lambda *_, **__: pytest.fail("compiled"))
    evaluate = ("task=evaluate", "checkpoint_path=outputs/x")
    assert cli(capsys, *evaluate).code == 0
    outcome = cli(capsys, *evaluate, "device.compile_mode=max-autotune")
    assert outcome.code == 2 and "it with device.compile=true" in outcome.err


class Scattered(nn.Module):
    """Runs a model on the pieces that `nn.DataParallel` makes of a batch for four GPUs, and gathers the outputs."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.model(piece) for piece in inputs.chunk(4)])


def test_uneven_pieces_of_a_batch_weigh_as_their_samples_do() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs, targets = torch.randn(10, 3, generator=generator), torch.randint(2, (10,), generator=generator)
    assert [len(piece) for piece in inputs.chunk(4)] == [3, 3, 3, 1]
    found = []
    for model in (one := nn.Linear(3, 2), Scattered(one)):
        loss = Classification().training({"model": model}, "model", (inputs, targets))["loss"]
        found.append((loss, *torch.autograd.grad(loss, list(one.parameters()))))
    torch.testing.assert_close(*found)
