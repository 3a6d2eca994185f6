"""The words of the command line that name a folder of the user's."""

import re
from pathlib import Path

import pytest

from runner.errors import ConfigError
from runner.wiring.config.folder import flags_of, folder_of
from runner.wiring.overrides.arguments import check_for_sweep, expand, parse, repeated, value_of


def test_another_process_is_given_the_users_own_config_folder(tmp_path: Path) -> None:
    assert flags_of([f"hydra.searchpath=[file://{tmp_path}]"]) == [f"--config-dir={tmp_path}"]
    assert flags_of([]) == []


@pytest.mark.parametrize(
    ("line", "complete"),
    [
        ("runner-train --config-dir {} model=", True),
        ("runner-train --config-dir={} model=", True),
        ("runner-train -cd {} model=", True),
        ("runner-train --config-dir {}", False),
        ("runner-train --config-dir /absent/folder model=", False),
        ("runner-train model=", False),
    ],
)
def test_the_config_folder_of_a_line_that_is_being_typed_is_found(tmp_path: Path, line: str, complete: bool) -> None:
    assert folder_of(line.format(tmp_path)) == (["--config-dir", str(tmp_path)] if complete else [])


@pytest.mark.parametrize("name", ["1.10", "2024_01", "1e3", "true", "007"])
def test_a_name_stays_as_it_was_typed(name: str) -> None:
    words = expand([f"name={name}", "epochs=2"])
    assert value_of(words, "name") == name and words[1:] == ["epochs=2"]


@pytest.mark.parametrize("word", ["~device", "~seed", "~checkpoint=every_epoch"])
def test_what_every_run_needs_cannot_be_deleted(word: str) -> None:
    with pytest.raises(ConfigError, match=f"{word} would delete what every run needs; only scheduler and experiment"):
        parse(["epochs=2", word])


def test_a_run_may_do_without_a_scheduler_an_experiment_and_a_key_of_an_option() -> None:
    assert all(override.is_delete() for override in parse(["~scheduler", "~experiment", "~model.width"]))


@pytest.mark.parametrize("word", ["experiment=null", "model=lenet,null"])
def test_no_option_of_a_group_is_null(word: str) -> None:
    parse(["epochs=null", "~experiment", "model.width=null"])
    with pytest.raises(ConfigError, match=f"{word} is invalid; choose an option of"):
        parse([word])


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("name=a,b", "name=a,b cannot be swept"),
        ("task=train,evaluate", "task=train,evaluate cannot be swept"),
        ("task=evaluate", "task=evaluate does not work with -m"),
        ("resume=outputs/x/last.tar", "warm_start.path="),
    ],
)
def test_what_is_of_one_run_cannot_be_with_a_sweep(word: str, said: str) -> None:
    check_for_sweep(["seed=0,1", "name=a", "task=train", "resume=auto"])
    with pytest.raises(ConfigError, match=re.escape(said)):
        check_for_sweep(["seed=0,1", word])


def test_a_key_that_is_given_twice_is_said() -> None:
    assert repeated(["epochs=3", "seed=1", "epochs=4"]) == ["epochs is given twice: epochs=4 counts, epochs=3 does not"]
    assert repeated(["epochs=3", "seed=1", "epochs=3"]) == []
