"""A model divided over processes: the same file, in the same names and shapes, and the same promises."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.support.command_line import TINY
from tests.support.comparing import assert_same_run, entries_of
from tests.support.fork_server import ForkServer, fork_server
from tests.support.ranks import run_ranks

FSDP = ("strategy=fsdp", "strategy.units=[Linear]", "device=cpu")
EVERYTHING = (*TINY, "ema.decay=0.9", "scheduler=cosine", "scheduler.warmup=1")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    with fork_server(tmp_path_factory.mktemp("server")) as process:
        yield process


@pytest.mark.slow
@pytest.mark.parametrize("words", [("clip_norm=1",), ("on_nonfinite=skip", "device.precision=bf16")])
def test_a_resume_is_exact(work: Path, server: ForkServer, words: tuple[str, ...]) -> None:
    codes, text = run_ranks(server, work, 2, *EVERYTHING, *FSDP, *words, "name=whole")
    assert codes == [0, 0], text
    codes, text = run_ranks(server, work, 2, *EVERYTHING, *FSDP, *words, "name=x", variables={1: {"STOP_AT": "3"}})
    assert codes == [75, 75], text
    codes, text = run_ranks(server, work, 2, "resume=outputs/x")
    assert codes == [0, 0], text
    assert_same_run(work / "outputs/whole", work / "outputs/x")


@pytest.mark.slow
def test_its_file_is_that_of_one_process_and_is_resumed_by_any_strategy(work: Path, server: ForkServer) -> None:
    words = (*EVERYTHING, "model.dropout=0", "optimizer=sgd", "optimizer.momentum=0.9", "device=cpu")
    assert server.run(work, *words, "name=one")[0] == 0
    whole = entries_of(work / "outputs/one/last.tar")
    for name, size, first in (("fsdp", 2, FSDP), ("single", 1, ()), ("ddp", 3, ())):
        codes, text = run_ranks(server, work, size, *words, *first, f"name={name}", "max_steps=4", "epochs=null")
        assert codes == [0] * size, text
        saved = entries_of(work / f"outputs/{name}/last.tar")
        assert {key: value.shape for key, value in saved["model_state_dict"].items()} == {
            key: value.shape for key, value in whole["model_state_dict"].items()
        }
        for other, others, more in (
            ("fsdp", 2, FSDP),
            ("single", 1, ("strategy=single",)),
            ("ddp", 2, ("strategy=ddp",)),
        ):
            source = f"resume=outputs/{name}/last.tar"
            again = (source, f"name={name}_{other}", "max_steps=null", "epochs=3", *more)
            codes, text = run_ranks(server, work, others, *again)
            assert codes == [0] * others, text
            ended = entries_of(work / f"outputs/{name}_{other}/last.tar")
            assert list(ended) == list(saved) or others != size
            for part in ("model_state_dict", "ema_state_dict"):
                for key, value in ended[part].items():
                    torch.testing.assert_close(value, whole[part][key], rtol=1e-5, atol=1e-6)
