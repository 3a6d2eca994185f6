import io
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from runner.checkpoint.plain import plain_copy
from runner.randomness import Randomness, isolated, seed_everything, set_deterministic

ROOT = Path(__file__).resolve().parents[1]


def draw() -> list[float]:
    """Draw from all global generators, an odd number of normals so that a pair's second is left over."""
    return [
        random.random(), random.gauss(0, 1), float(numpy.random.rand()), float(numpy.random.randn()),
        float(torch.rand(())), float(torch.randn(())),
    ]  # fmt: skip


def through_a_file(state: Any) -> Any:
    file = io.BytesIO()
    torch.save(plain_copy(state, "rng"), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("drawn_before", [0, 1, 2])
def test_restored_generators_draw_the_same_again_also_from_a_file(drawn_before: int) -> None:
    seed_everything(3)
    for _ in range(drawn_before):
        draw()
    state = through_a_file(Randomness().state_dict())
    expected = [draw() for _ in range(5)]
    seed_everything(4)
    Randomness().load_state_dict(state)
    assert [draw() for _ in range(5)] == expected


def test_the_state_does_not_change_with_the_generators() -> None:
    seed_everything(3)
    state = Randomness().state_dict()["rank_0"]
    kept = state["torch"].clone(), state["numpy"][1].clone()
    draw()
    assert torch.equal(state["torch"], kept[0]) and torch.equal(state["numpy"][1], kept[1])


def test_the_state_has_plain_values_under_the_names_of_the_generators() -> None:
    seed_everything(3)
    state = Randomness().state_dict()
    assert list(state) == ["rank_0"]
    assert list(state["rank_0"]) == ["python", "numpy", "torch", "cuda", "mps"]
    assert state["rank_0"]["numpy"][0] == "MT19937" and state["rank_0"]["numpy"][1].dtype == torch.int64


def test_a_seed_decides_every_generator() -> None:
    seed_everything(5)
    first = draw()
    seed_everything(5)
    assert draw() == first
    seed_everything(6)
    assert all(one != other for one, other in zip(draw(), first, strict=True))


def test_states_of_absent_devices_are_passed_over() -> None:
    state = Randomness().state_dict()
    present = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    state["rank_0"]["cuda"] = [*present, torch.zeros(16, dtype=torch.uint8)]
    expected = draw()
    Randomness().load_state_dict(state)
    assert draw() == expected


def changed(name: str, value: Any) -> dict[str, Any]:
    return {"rank_0": {**Randomness().state_dict()["rank_0"], name: value}}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("python", None),
        ("python", (3, (1, 2), None)),
        ("torch", None),
        ("torch", torch.zeros(3, dtype=torch.uint8)),
        ("torch", torch.zeros(3)),
        ("numpy", ("MT19937", torch.zeros(3, dtype=torch.int64), 0, 0, 0.0)),
        ("numpy", ("PCG64", torch.zeros(624, dtype=torch.int64), 0, 0, 0.0)),
        ("numpy", ("MT19937", torch.full((624,), -1), 0, 0, 0.0)),
        ("numpy", ()),
    ],
)
def test_a_malformed_state_is_a_value_error(name: str, value: Any) -> None:
    with pytest.raises(ValueError):
        Randomness().load_state_dict(changed(name, value))


def test_each_gpu_of_a_run_gets_its_own_generator_back_in_the_order_of_the_runs_devices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpus = {index: torch.tensor([index], dtype=torch.uint8) for index in range(4)}
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda index: gpus[index].clone())
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, index: gpus.update({index: state}))
    state = through_a_file(Randomness((2, 0, 3)).state_dict())
    Randomness((2, 0, 3)).load_state_dict(state)
    assert {index: int(one) for index, one in gpus.items()} == {0: 0, 1: 1, 2: 2, 3: 3}
    Randomness((0, 1)).load_state_dict(state)
    assert {index: int(one) for index, one in gpus.items()} == {0: 2, 1: 0, 2: 2, 3: 3}


@pytest.mark.parametrize("state", [{}, {"rank_0": None}, {"rank_0": {}}, {"rank_0": {}, "rank_1": {}}, None])
def test_a_state_of_other_ranks_is_a_value_error(state: Any) -> None:
    with pytest.raises(ValueError):
        Randomness().load_state_dict(state)


def test_what_is_drawn_in_isolation_is_decided_by_seed_and_step_alone() -> None:
    drawn = []
    for seed, step in [(1, 7), (1, 7), (1, 8), (2, 7)]:
        draw()
        with isolated(seed, step):
            drawn.append(tuple(draw()))
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 3


def test_isolation_leaves_no_trace_outside() -> None:
    seed_everything(3)
    draw()
    expected = Randomness().state_dict()["rank_0"]["torch"], draw()
    seed_everything(3)
    draw()
    with isolated(9, 1):
        draw()
    assert torch.equal(torch.get_rng_state(), expected[0])
    assert draw() == expected[1]


def test_isolation_leaves_no_trace_of_what_failed_inside() -> None:
    seed_everything(3)
    expected = draw()
    seed_everything(3)
    with pytest.raises(KeyboardInterrupt), isolated(9, 1):
        draw()
        raise KeyboardInterrupt
    assert draw() == expected


def test_deterministic_algorithms_are_asked_for() -> None:
    program = """
import os, torch
from runner.randomness import set_deterministic
torch.backends.cudnn.benchmark = True
set_deterministic(True)
flags = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
print(*flags, os.environ["CUBLAS_WORKSPACE_CONFIG"])
"""
    environment = {name: value for name, value in os.environ.items() if name != "CUBLAS_WORKSPACE_CONFIG"}
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert ended.stdout == "True False :4096:8\n"


def test_a_workspace_that_the_user_chose_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    benchmark = torch.backends.cudnn.benchmark
    try:
        set_deterministic(True)
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.benchmark = benchmark
