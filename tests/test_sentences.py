"""What a user reads who has asked for something that cannot be, or that means something else: each with its way out."""

from pathlib import Path

import numpy
import pytest

from tests.support.command_line import MLP, SMALL, TINY, cli

_RUN = (*SMALL, "tracker=csv")


def _arrays(path: Path) -> None:
    inputs = numpy.random.default_rng(0).normal(size=(40, 3)).astype("float32")
    numpy.savez(path, train_inputs=inputs, train_targets=numpy.arange(40) % 2)


def test_a_resume_and_an_evaluation_take_the_place_where_the_data_lie_now(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _arrays(work / "a.npz")
    cli(capsys, "data=arrays", "data.path=a.npz", *MLP, "device=cpu", "tracker=csv", "name=m", "epochs=1")
    (work / "a.npz").rename("moved.npz")
    moved = "data.path=moved.npz"
    assert cli(capsys, "resume=outputs/m", "epochs=2", moved).code == 0
    assert cli(capsys, "task=evaluate", "checkpoint_path=outputs/m/last.tar", moved).code == 0


def test_a_run_that_stopped_early_names_the_key_that_goes_on(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli(capsys, *_RUN, "name=early", "epochs=9", "early_stopping.patience=1", "optimizer.lr=1e-12")
    for words in ((), ("epochs=12",)):
        answer = cli(capsys, "resume=outputs/early", *words)
        assert answer.code == 0
        assert "early_stopping.patience=" in answer.out
        assert "epochs=" not in answer.out


def test_an_evaluation_refuses_other_data_in_its_own_words(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli(capsys, *_RUN, "name=x", "epochs=1")
    words = ("task=evaluate", "checkpoint_path=outputs/x/last.tar", "data.size=48")
    answer = cli(capsys, *words)
    assert answer.code == 2
    assert "resume_allow=[data]" in answer.err
    assert "on a resume" not in answer.err
    assert cli(capsys, *words, "resume_allow=[data]", "deterministic=true").code == 0
    answer = cli(capsys, *words[:2], "model=lenet")
    assert answer.code == 2
    assert "leave model out" in answer.err
    assert "resume_allow" not in answer.err


def test_every_yes_rewinds_and_anything_else_is_refused(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli(capsys, *_RUN, "name=x", "epochs=3", "checkpoint.keep_last=9")
    first = "resume=outputs/x/checkpoints/step_0000000002.tar"
    assert "rewind=true" in cli(capsys, first, "rewind=off").err
    assert "rewind=maybe is invalid; use true or false" in cli(capsys, first, "rewind=maybe").err
    assert cli(capsys, first, "rewind=yes").code == 0


def test_a_longer_run_without_a_schedule_moves_no_schedule(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli(capsys, *_RUN, "name=x", "epochs=1", "scheduler=none")
    cli(capsys, "resume=outputs/x", "epochs=2")
    log = (work / "outputs/x/run.log").read_text()
    assert "schedule" not in log.split("resuming")[1]
    assert "| free" in log


@pytest.mark.parametrize("word", ["scheduler.unit=epoch", "warm_start.exclude=[fc3]", "warm_start.rename=['a=b']"])
def test_a_key_that_would_change_nothing_is_refused(work: Path, capsys: pytest.CaptureFixture[str], word: str) -> None:
    answer = cli(capsys, *TINY, "scheduler=plateau", word)
    assert answer.code == 2
    assert word.split("=")[0] in answer.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("model=own", "model._target_ is missing"),
        ("data=synthetic data.shape=[16] model=lenet", "needs images, but the data have none"),
        ("data=arrays data.path=hwc.npz", "28x3 (if 3 is the number of channels"),
        ("data=arrays data.path=xy.npz", "but x, y; rename"),
        ("learner=own learner._target_=mine", "mine.ClassName"),
        ("warm_start.path=any.pt warm_start.freeze=conv", "warm_start.freeze=[conv]"),
        ("model=lenett", "did you mean model=lenet? the options are gan, lenet, mlp, own, resnet\n"),
    ],
)
def test_a_mistake_is_answered_with_what_would_do(
    work: Path, capsys: pytest.CaptureFixture[str], words: str, says: str
) -> None:
    numpy.savez(work / "xy.npz", x=numpy.ones((4, 3)), y=numpy.arange(4))
    images = numpy.zeros((20, 28, 28, 3), "uint8")
    numpy.savez(work / "hwc.npz", train_inputs=images, train_targets=numpy.arange(20))
    answer = cli(capsys, *words.split(), "device=cpu")
    assert answer.code == 2
    assert answer.err.startswith("error: ")
    assert says in answer.err
    assert "search path" not in answer.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("seed=1,2 epochs=-1", "epochs=-1 is invalid"),
        ("seed=1,2 data=own data._target_=nowhere.X", "there is no module 'nowhere' in "),
        ("seed=1,2 model=own", "model._target_ is missing"),
        ("epochs=-1,-2", "epochs=-1 is invalid"),
    ],
)
def test_a_mistake_of_all_jobs_is_refused_before_the_first(
    work: Path, capsys: pytest.CaptureFixture[str], words: str, says: str
) -> None:
    answer = cli(capsys, "-m", *words.split(), "name=s")
    assert answer.code == 2 and says in answer.err and answer.err.count("\n") == 1
    assert not (work / "outputs").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--config-name=x", "add --config-dir=mine experiment=x"),
        ("--config-path=x", "add --config-dir=mine experiment=x"),
        ("name=x hydra.run.dir=outputs/y", "name=x and hydra.run.dir=outputs/y name two directories"),
    ],
)
def test_what_would_be_passed_over_is_refused(
    work: Path, capsys: pytest.CaptureFixture[str], words: str, says: str
) -> None:
    answer = cli(capsys, *words.split())
    assert answer.code == 2 and says in answer.err and answer.err.count("\n") == 1
    assert list(work.iterdir()) == []


def test_the_version_is_that_of_this_program(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(capsys, "--version").out.startswith("runner-train 0.")


def test_another_model_on_a_resume_is_answered_with_a_warm_start(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli(capsys, *_RUN, "name=x", "epochs=1")
    for allowed in ((), ("resume_allow=[model]",)):
        answer = cli(capsys, "resume=outputs/x", "model=lenet", *allowed)
        assert answer.code == 2 and "name=another_name warm_start.path=FILE instead of resume" in answer.err


def test_a_key_that_is_given_twice_is_said_at_the_start(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = cli(capsys, *_RUN, "name=x", "epochs=3", "epochs=1")
    assert answer.code == 0 and "epochs is given twice: epochs=1 counts, epochs=3 does not\n" in answer.out
    answer = cli(capsys, *_RUN, "name=x", "epochs=3", "epochs=1")
    assert answer.code == 2 and not answer.out
