"""A checkpoint of any strategy and any number of processes is continued by every other."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.command_line import TINY
from tests.support.comparing import difference, entries_of
from tests.support.fork_server import ForkServer
from tests.support.ranks import run_ranks

# No dropout: each process draws its own. Ten steps an epoch.
WORDS = (
    *TINY[3:], "model=mlp", "model.hidden=[8]", "learner._target_=tests.own.ranks.Noting", "optimizer=sgd",
    "optimizer.momentum=0.9", "data._target_=tests.own.points.NoisyPoints", "+data.size=80", "epochs=3", "device=cpu",
)  # fmt: skip
WAYS: dict[str, tuple[Any, ...]] = {
    "single": (1, "strategy=single"),
    "data_parallel": (1, "strategy=data_parallel"),
    "ddp of 2": (2, "strategy=ddp"),
    "ddp of 3": (3, "strategy=ddp"),
    "fsdp of 2": (2, "strategy=fsdp"),
    "sharded fsdp of 2": (2, "strategy=fsdp", "checkpoint.form=sharded"),
}
STOP, STEPS = 9, 30


def trained(process: ForkServer, work: Path, way: str, *words: str, at: str = "", code: int = 0) -> str:
    """Train in one way, or let it be stopped; return what was printed."""
    size, *ours = WAYS[way]
    codes, text = run_ranks(process, work, size, *words, *ours, variables={size - 1: {"STOP_AT": at}})
    assert codes == [code] * size, text
    return text


def shapes(state: Any) -> Any:
    """Return the names of a state, with the shapes of its tensors and the types of its values."""
    if isinstance(state, dict):
        return {key: shapes(value) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return [shapes(value) for value in state]
    return tuple(state.shape) if isinstance(state, torch.Tensor) else type(state)


def whole(work: Path, name: str) -> dict[str, Any]:
    """Return the entries of a finished run, without what differs by process or time."""
    left_out = ("ranks_state_dict", "config", "environment", "created", "progress_state_dict")
    return {key: value for key, value in entries_of(work / f"outputs/{name}/last.tar").items() if key not in left_out}


def assert_near(one: Any, other: Any) -> None:
    """Assert that all weights and moments of two runs are the same but for the order of additions."""
    for part in ("model_state_dict", "optimizer_state_dict"):
        pairs = zip(_tensors(one[part]), _tensors(other[part]), strict=True)
        assert all(torch.allclose(first, second, rtol=1e-4, atol=1e-5) for first, second in pairs)
    assert one["data_state_dict"] == other["data_state_dict"] and one["global_step"] == other["global_step"]


def _tensors(state: Any) -> list[torch.Tensor]:
    if isinstance(state, dict):
        return [tensor for value in state.values() for tensor in _tensors(value)]
    return [state] if isinstance(state, torch.Tensor) else []


@pytest.mark.slow
@pytest.mark.parametrize("first", WAYS)
def test_what_one_way_saves_every_way_continues(work: Path, process: ForkServer, first: str) -> None:
    trained(process, work, first, *WORDS, "name=whole")
    trained(process, work, first, *WORDS, "name=x", at=str(STOP), code=75)
    expected = whole(work, "whole")
    for then in WAYS:
        text = trained(process, work, then, "resume=outputs/x/last.tar", f"name={then.replace(' ', '_')}")
        assert (work / f"outputs/{then.replace(' ', '_')}/last.tar").is_dir() is (
            "fsdp" in then and "sharded" in first + then
        )
        found = whole(work, then.replace(" ", "_"))
        assert shapes(found) == shapes(expected)
        assert ("but no longer exactly" in text) is (WAYS[first][0] != WAYS[then][0]), text
        if first == then or WAYS[first][0] == WAYS[then][0] == 1:
            assert difference(found, expected) is None
        else:
            assert_near(found, expected)
