"""A model divided over processes: the same file, in the same names and shapes, and the same promises."""

from pathlib import Path

import pytest

from tests.support.command_line import TINY
from tests.support.comparing import assert_same_run
from tests.support.fork_server import ForkServer
from tests.support.ranks import run_ranks

FSDP = ("strategy=fsdp", "strategy.units=[Linear]", "device=cpu")
EVERYTHING = (*TINY, "ema.decay=0.9", "scheduler=cosine", "scheduler.warmup=1")


@pytest.mark.slow
@pytest.mark.parametrize("words", [("clip_norm=1",), ("on_nonfinite=skip", "device.precision=bf16")])
def test_a_resume_is_exact(work: Path, process: ForkServer, words: tuple[str, ...]) -> None:
    codes, text = run_ranks(process, work, 2, *EVERYTHING, *FSDP, *words, "name=whole")
    assert codes == [0, 0], text
    codes, text = run_ranks(process, work, 2, *EVERYTHING, *FSDP, *words, "name=x", variables={1: {"STOP_AT": "3"}})
    assert codes == [75, 75], text
    codes, text = run_ranks(process, work, 2, "resume=outputs/x")
    assert codes == [0, 0], text
    assert_same_run(work / "outputs/whole", work / "outputs/x")
