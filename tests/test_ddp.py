"""Several processes are one run: the same files, the same order, the same promises."""

from pathlib import Path

import pytest

from tests.support.command_line import TINY
from tests.support.comparing import assert_same_run, entries_of
from tests.support.fork_server import ForkServer
from tests.support.ranks import run_ranks

# Dropout, augmentation, accumulation, a moving average and a schedule.
EVERYTHING = (*TINY, "ema.decay=0.9", "scheduler=cosine", "scheduler.warmup=1", "device=cpu")


@pytest.mark.parametrize("size", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_a_stop_of_any_rank_stops_all_at_one_step_and_a_resume_is_exact(
    work: Path, process: ForkServer, size: int
) -> None:
    codes, text = run_ranks(process, work, size, *EVERYTHING, "name=whole")
    assert codes == [0] * size, text
    for step in (0, 4) if size > 2 else (3,):
        stopping = {size - 1: {"STOP_AT": str(step)}}
        codes, text = run_ranks(process, work, size, *EVERYTHING, f"name=s{step}", variables=stopping)
        assert codes == [75] * size, text
        assert entries_of(work / f"outputs/s{step}/last.tar")["global_step"] == step + 2  # known one step later
        codes, text = run_ranks(process, work, size, f"resume=outputs/s{step}/last.tar")
        assert codes == [0] * size, text
        assert_same_run(work / "outputs/whole", work / f"outputs/s{step}")
