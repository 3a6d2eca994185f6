"""`task=check_resume` on configs without a fault and on real faults, with real processes that are really killed."""

from pathlib import Path
from typing import Any

import pytest

from runner.commands.check_resume.trials import shortened
from runner.wiring.build.hidden_state import suspects
from runner.wiring.trust.targets import target_names
from tests.support.command_line import Outcome, cli, config_of

pytestmark = pytest.mark.usefixtures("work")

WORDS = (
    "model=mlp", "model.hidden=[8]", "model.dropout=0.3", "data=own", "data._target_=tests.own.points.NoisyPoints",
    "optimizer=adam", "batch_size=8", "accumulate=2", "device=cpu",
)  # fmt: skip

FAULTS = {
    "own_generator": ["data._target_=tests.own.unresumable.OwnGenerator"],
    "unseeded_generator": ["data._target_=tests.own.unresumable.UnseededGenerator"],
    "counting_learner": ["learner=own", "learner._target_=tests.own.unresumable.Counting"],
    "remembering_model": ["model=own", "model._target_=tests.own.unresumable.Remembering"],
    "unseeded_weights": ["model=own", "model._target_=tests.own.unresumable.UnseededWeights"],
    "forgetful_optimizer": ["optimizer=own", "optimizer._target_=tests.own.unresumable.Forgetful", "+optimizer.lr=0.1"],
}
FOUND = {
    "own_generator": "data.train.noise is a numpy.random.Generator",
    "unseeded_generator": "data.train.noise is a random.Random",
    "counting_learner": "learner.count (int) changes in training",
    "remembering_model": "model.mean (Tensor) changes in training",
    "unseeded_weights": "model.weight has other initial values",
}


def with_fault(name: str) -> list[str]:
    words = FAULTS[name]
    groups = [word.split("=")[0] for word in words if word.endswith("=own")]
    return [w for w in WORDS if not w.startswith(tuple(f"{group}." for group in groups))] + words


def check(capsys: Any, *words: str) -> Outcome:
    return cli(capsys, "task=check_resume", *words)


def suspected(words: list[str]) -> list[str]:
    config = config_of(*words, "debug=limit")
    return suspects(config, frozenset(target_names(vars(config))))


@pytest.mark.parametrize("name", FOUND)
def test_the_cause_of_a_fault_is_found_in_the_objects(name: str) -> None:
    (sentence,) = suspected(with_fault(name))
    assert sentence.startswith(FOUND[name])


@pytest.mark.parametrize("more", [[], ["data=digits", "data.augment=shift"], ["experiment=gan_digits"]])
def test_nothing_is_suspected_where_there_is_no_fault(more: list[str]) -> None:
    words = list(WORDS) if not more or more[0] != "experiment=gan_digits" else []
    kept = [word for word in words if not (more and word.startswith("data._target_"))]
    assert suspected([*kept, *more]) == []


def test_the_users_words_stay_but_for_length_logging_and_checkpoints() -> None:
    words = shortened(
        ["model=mlp", "epochs=9", "checkpoint=off", "checkpoint.monitor=val/accuracy", "name=x", "seed=3"]
    )
    assert words[:3] == ["model=mlp", "checkpoint.monitor=val/accuracy", "seed=3"]
    assert "max_steps=7" in words and "checkpoint=every_n_steps" in words and not {"epochs=9", "name=x"} & set(words)


@pytest.mark.parametrize(
    ("word", "said"),
    [("resume=outputs/x", "leave resume out"), ("optimizer.lr=-1", "optimizer.lr"), ("optimizer.lrr=1", "lrr")],
)
def test_a_wrong_config_is_refused_before_anything_is_made(work: Path, capsys: Any, word: str, said: str) -> None:
    outcome = check(capsys, word)
    assert outcome.code == 2 and said in outcome.err
    assert list(work.iterdir()) == []


@pytest.mark.slow
def test_what_only_building_can_tell_is_said_and_leaves_nothing(work: Path, capsys: Any) -> None:
    outcome = check(capsys, "data=synthetic", "data.shape=[1,8,8]")
    assert outcome.code == 2 and "16x16" in outcome.err.splitlines()[-1]
    assert list((work / "outputs").iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        [*WORDS, "data.workers=2", "ema.decay=0.9", "scheduler=plateau"],
        ["experiment=gan_digits", "data.augment=shift", "checkpoint=off"],
        ["model=mlp", "data=synthetic", "data.shape=[8]", "data.size=40", "max_steps=100", "tracker=both"],
    ],
)
def test_a_config_without_a_fault_is_exact_and_leaves_nothing(work: Path, capsys: Any, words: list[str]) -> None:
    outcome = check(capsys, *words)
    assert outcome.code == 0, outcome.out + outcome.err
    assert outcome.out.startswith("exact: ") and outcome.out.count("\n") == 1
    assert list((work / "outputs").iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_noticed_and_its_runs_are_kept(work: Path, capsys: Any, name: str) -> None:
    outcome = check(capsys, *with_fault(name))
    assert outcome.code == 1, outcome.out + outcome.err
    kind = "not repeatable: " if name.startswith("unseeded") else "not exact: "
    assert outcome.out.startswith(kind) and outcome.out.count("\n") == 1
    assert FOUND.get(name, "the first loss after the resume is the same but later ones differ") in outcome.out
    (folder,) = (work / "outputs").iterdir()
    assert str(folder.relative_to(work)) in outcome.out and (folder / "whole/last.tar").is_file()
    assert "model_state_dict." in outcome.out and "step" in outcome.out


@pytest.mark.slow
def test_the_runs_of_the_check_have_the_users_own_config_folder(work: Path, capsys: Any) -> None:
    (work / "mine/model").mkdir(parents=True)
    (work / "mine/model/small.yaml").write_text("_target_: runner.models.Mlp\nhidden: [4]\n")
    kept = [word for word in WORDS if not word.startswith("model")]
    outcome = check(capsys, "--config-dir", "mine", *kept, "model=small", "model.hidden=[5]")
    assert outcome.code == 0, outcome.out + outcome.err


@pytest.mark.slow
def test_a_run_that_fails_is_reported_with_its_own_words(work: Path, capsys: Any) -> None:
    words = [*WORDS, "learner=own", "learner._target_=tests.own.nonfinite.NanGradient"]
    outcome = check(capsys, *words)
    assert outcome.code == 1 and "the run 'whole' of the check ended with 1" in outcome.err and "became" in outcome.err
