"""Several processes compute what one does: each sample counts once, whatever their number."""

import math
from collections import Counter
from itertools import chain
from pathlib import Path

import pytest

from tests.support.comparing import rows_of
from tests.support.fork_server import ForkServer
from tests.support.ranks import run_ranks

OF_TESTS = "learner._target_=tests.own.learners.StoppableClassification"
# No dropout: each process draws its own. The data's noise follows from (epoch, sample).
PLAIN = (
    "data=own", "learner=own", OF_TESTS, "optimizer=sgd", "optimizer.lr=0.1", "epochs=3", "log_every=2", "tracker=csv",
    "device=cpu", "model=mlp",
)  # fmt: skip
POINTS = ("data._target_=tests.own.ranks.Sets", "checkpoint.monitor=val/near/loss")
JUDGED = "learner._target_=tests.own.figures.JudgedTogether"
COUNTED = "learner._target_=tests.own.ranks.Noting"


def trained(process: ForkServer, work: Path, size: int, *words: str) -> list[dict[str, str]]:
    """Return the rows of metrics.csv of a run of so many processes."""
    codes, text = run_ranks(process, work, size, *words, f"name=x{size}")
    assert codes == [0] * size, text
    return rows_of(work / f"outputs/x{size}")


def assert_alike(one: list[dict[str, str]], other: list[dict[str, str]]) -> None:
    """Assert that the rows of two runs say the same but for the order of additions."""
    assert [list(row) for row in one] == [list(row) for row in other]
    for row, same in zip(one, other, strict=True):
        for key in row:
            close = row[key] == same[key] or math.isclose(float(row[key]), float(same[key]), rel_tol=1e-5, abs_tol=1e-7)
            assert close, (key, row, same)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ((2, 3), (*POINTS, "batch_size=8", "accumulate=2")),  # 20 samples: the last batch is of 4, in halves
        ((3,), (*POINTS, JUDGED, "batch_size=3", "accumulate=2", "epochs=1")),  # parts of fewer than processes
        ((2,), (*POINTS, "batch_size=19", "accumulate=5", "optimizer.momentum=0.9")),  # the last batch is of one sample
        ((2,), (*POINTS, JUDGED, "batch_size=4", "checkpoint.monitor=val/far/f1", "checkpoint.mode=max")),
        ((3,), (*POINTS, COUNTED, "batch_size=19", "max_tokens=90")),  # one sample is left
    ],
)  # fmt: skip
def test_steps_metrics_and_evaluations_are_those_of_one_process(
    work: Path, process: ForkServer, sizes: tuple[int, ...], words: tuple[str, ...]
) -> None:
    one = trained(process, work, 1, *PLAIN, *words)
    assert len(one) > 2
    for size in sizes:
        assert_alike(one, trained(process, work, size, *PLAIN, *words))


def noted(work: Path, size: int) -> dict[str, list[Counter[str]]]:
    """Return the samples of each batch of training, and of all evaluations, over all processes."""
    files = [(work / f"seen_{size}_{rank}").read_text().splitlines() for rank in range(size)]
    batches = [[line.partition(": ")[2].split() for line in lines if line.startswith("training")] for lines in files]
    evaluated = [line.partition(": ")[2].split() for lines in files for line in lines if line.startswith("evaluation")]
    return {
        "training": [Counter(chain(*parts)) for parts in zip(*batches, strict=True)],
        "evaluation": [Counter(chain(*evaluated))],
    }


@pytest.mark.slow
def test_no_sample_is_dropped_or_seen_twice_in_training_or_evaluation(work: Path, process: ForkServer) -> None:
    words = (
        *PLAIN, "data._target_=tests.own.ranks.Numbered", "learner._target_=tests.own.ranks.Noting", "batch_size=8",
    )  # fmt: skip
    trained(process, work, 1, *words)
    one = noted(work, 1)
    for size in (2, 3):
        trained(process, work, size, *words)
        assert noted(work, size) == one
