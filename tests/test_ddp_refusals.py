"""Several processes that cannot train together say why: one sentence, once, and exit code 2 in all of them."""

from pathlib import Path

import pytest

from tests.support.command_line import TINY
from tests.support.fork_server import ForkServer
from tests.support.processes import python
from tests.support.ranks import run_ranks


def refused(process: ForkServer, work: Path, *words: str, variables: dict[int, dict[str, str]] | None = None) -> str:
    """Return the one sentence that two processes say to these words, and assert that nothing was made."""
    codes, text = run_ranks(process, work, 2, *TINY, *words, "device=cpu", variables=variables)
    assert codes == [2, 2], text
    said = [line for line in text.splitlines() if "is given twice" not in line]
    assert len(said) == 1 and said[0].startswith("error: "), text
    assert not (work / "outputs").exists()
    return said[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("optimizer.lr=-1",), "optimizer.lr=-1"),
        (("data._target_=tests.own.points.Nothing",), "Nothing"),
        (("strategy.timeout=0",), "strategy.timeout=0"),
        (("resume=outputs/none",), "outputs/none"),
        (("warm_start.path=none.pt",), "none.pt"),
        (("learner._target_=tests.own.figures.Judged",), "has no `merge_state(metrics)`"),
        (("batch_size=1", "accumulate=1"), "a batch to evaluate has 1 samples for 2 processes"),
        (("learner._target_=tests.own.ranks.Wrong",), "a number that cannot be"),
    ],
)
def test_a_mistake_is_said_once_by_all(work: Path, process: ForkServer, words: tuple[str, ...], sentence: str) -> None:
    assert sentence in refused(process, work, *words)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variable", "sentence"),
    [("SIZE", "rank 1 has 21 samples and rank 0 has 20"), ("REVERSED", "rank 1 has another order of the data")],
)
def test_a_rank_with_other_data_is_refused(work: Path, process: ForkServer, variable: str, sentence: str) -> None:
    data = "data._target_=tests.own.ranks.Other"
    assert sentence in refused(process, work, data, variables={1: {variable: "21"}})


@pytest.mark.slow
def test_one_process_is_no_ddp_and_several_are_no_single(work: Path, process: ForkServer) -> None:
    code, text = process.run(work, *TINY, "strategy=ddp", "device=cpu")
    assert code == 2 and "strategy=ddp needs several processes; start them with torchrun" in text
    assert "strategy=data_parallel runs in one process" in refused(process, work, "strategy=data_parallel")
    codes, text = run_ranks(process, work, 1, *TINY, "strategy=ddp", "device=cpu", "max_steps=1")
    assert codes == [0], text  # the only one that is left of several


@pytest.mark.slow
def test_a_parameter_that_gets_no_gradient_is_one_sentence_and_find_unused_takes_it(
    work: Path, process: ForkServer
) -> None:
    model = ("model=own", "model._target_=tests.own.ranks.Partial")
    words = [word for word in TINY if not word.startswith("model")]
    codes, text = run_ranks(process, work, 2, *words, *model, "device=cpu")
    assert codes == [2, 2] and text.count("unused.weight has no gradient after a backward pass") == 1, text
    codes, text = run_ranks(process, work, 2, *words, *model, "device=cpu", "strategy.find_unused=true")
    assert codes == [0, 0], text


@pytest.mark.slow
def test_a_mistake_that_one_process_alone_meets_ends_all(work: Path, process: ForkServer) -> None:
    words = (*TINY, "device=cpu", "learner._target_=tests.own.ranks.WrongInOne")
    codes, text = run_ranks(process, work, 2, *words)
    assert 0 not in codes and text.count("has had enough") == 1, text
    assert "Traceback" not in text and not (work / "outputs").exists()


@pytest.mark.slow
def test_a_single_run_imports_nothing_of_several_processes(work: Path) -> None:
    program = (
        "import sys; from runner.commands.main import main\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "print(sorted(name for name in sys.modules if name.startswith('runner.strategy')))"
    )
    Path("one.py").write_text(program)
    outcome = python(work, "one.py", *TINY, "max_steps=1", "device=cpu")
    assert "'runner.strategy.processes'" in outcome.stdout, outcome.stdout + outcome.stderr
    for name in ("group", "ddp", "fsdp", "board"):
        assert f"runner.strategy.distributed.{name}'" not in outcome.stdout
