"""Files of a config folder that cannot be composed: each mistake is one sentence that names the file."""

from pathlib import Path

import pytest

from runner.errors import ConfigError
from runner.wiring.config.compose import CONF, checked, compose_config, hydra_session, register
from runner.wiring.schema.running import Checkpoint

GLOBAL = b"# @package _global_\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A config folder of the user's."""
    register()
    for group in ("experiment", "optimizer", "checkpoint"):
        (tmp_path / group).mkdir()
    return tmp_path


def refusal(folder: Path, *words: str) -> str:
    """Return the sentence for a config of the folder."""
    with hydra_session(str(folder)) as searchpath, pytest.raises(ConfigError) as error:
        checked(compose_config([*searchpath, *words]))
    return str(error.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (GLOBAL + b"# caf\xe9\nepochs: 2\n", ", line 2: not UTF-8 (perhaps Latin-1); save the file as UTF-8"),
        (GLOBAL + b"epochs: 3\nepochs: 4\n", ", line 3: epochs occurs twice; leave one out"),
        (GLOBAL + b"optimizer:\n  lr: 1\n  lr: 2\n", ", line 4: lr occurs twice; leave one out"),
        (GLOBAL + b"optimizer:\n\tlr: 1\n", ", line 3: YAML does not allow tabs here; indent with spaces"),
        (GLOBAL + b"optimizer: {lr: ???}\n", ", line 2: ??? inside braces needs quotes; write '???'"),
        (GLOBAL + b"optimizer: {lr: 1\n", ", line 3 is not YAML: "),
        (GLOBAL + b"epochs: !!python/object/apply:os.system [x]\n", ", line 2: a config holds plain values only "),
        (GLOBAL + b"epochs: many\n", ": epochs is invalid; use a whole number"),
        (GLOBAL + b"optimizer: {lr: null}\n", ": optimizer.lr is invalid; give a value other than null"),
        (GLOBAL + b"lr: 0.1\n", ": there is no key lr; did you mean optimizer.lr?"),
        (GLOBAL + b"optimizer: {lrr: 0.1}\n", ": there is no key optimizer.lrr; did you mean optimizer.lr?"),
        (
            GLOBAL + b"optimizer: {betas: [0.5, 0.9]}\ndefaults:\n  - override /optimizer: sgd\n",
            ": optimizer.betas is a key of optimizer=adam, optimizer=adamw; use optimizer=adam, or leave the key out",
        ),
        (GLOBAL + b"early_stopping: {foo: 1}\n", ": there is no key early_stopping.foo; --help lists all keys"),
        (GLOBAL + b"- a\n", " is a list; write `key: value` lines"),
        (
            GLOBAL + b"checkpoint: off\n",
            ': checkpoint is a group; choose its option under `defaults:`, as `- override /checkpoint: "off"`',
        ),
        (
            GLOBAL + b"optimizer: sgd\n",
            ": optimizer is a group; choose its option under `defaults:`, as `- override /optimizer: sgd`",
        ),
        (
            GLOBAL + b"defaults:\n  - override /checkpoint: off\n",
            ': off is a boolean in YAML, not the name of an option; write /checkpoint: "off"',
        ),
        (
            GLOBAL + b"defaults:\n  - override optimizer: sgd\n",
            " overrides optimizer as a sibling; write `override /optimizer: ...`",
        ),
        (
            GLOBAL + b"defaults:\n  - /optimizer: sgd\n",
            " chooses optimizer a second time; write `- override /optimizer: sgd` there",
        ),
        (
            GLOBAL + b"defaults:\n  - override /optimizer: sdg\n",
            ": optimizer=sdg does not exist; did you mean sgd? the options are adam",
        ),
        (b"epochs: 3\n", " would set experiment, which does not exist; make `# @package _global_` its first line"),
        (b"", " would set experiment, which does not exist; make `# @package _global_` its first line"),
        (
            b"\xef\xbb\xbf" + GLOBAL,
            " begins with a byte order mark, which hides its first line; save it as UTF-8 without BOM",
        ),
    ],
)  # fmt: skip
def test_a_mistake_in_a_file_names_the_file(folder: Path, content: bytes, said: str) -> None:
    path = folder / "experiment/mine.yaml"
    path.write_bytes(content)
    assert refusal(folder, "experiment=mine").startswith(f"{path}{said}")


@pytest.mark.parametrize(
    "content",
    [
        GLOBAL.replace(b"\n", b"\r\n") + b"max_steps: 2\r\n",
        GLOBAL + b'defaults:\n  - override /checkpoint: "off"\nmax_steps: 2\n',
        GLOBAL + b"defaults:\n  - override /optimizer: sgd\nmax_steps: 2\n",
        GLOBAL + b"max_steps: &a 2\n",
    ],
)
def test_what_the_answers_advise_composes(folder: Path, content: bytes) -> None:
    (folder / "experiment/mine.yaml").write_bytes(content)
    with hydra_session(str(folder)) as searchpath:
        assert checked(compose_config([*searchpath, "experiment=mine"])).max_steps == 2


def test_a_key_that_a_file_leaves_open_is_missing_until_an_override_or_a_later_file_sets_it(folder: Path) -> None:
    open_ = folder / "experiment/open.yaml"
    open_.write_bytes(GLOBAL + b"optimizer:\n  lr: ???\n")
    (folder / "experiment/closed.yaml").write_bytes(GLOBAL + b"defaults: [open, _self_]\noptimizer: {lr: 0.3}\n")
    (folder / "optimizer/mine.yaml").write_text("defaults: [sgd, _self_]\nlr: ???\n")
    said = f"optimizer.lr is missing ({open_} leaves it open with ???); set it, with optimizer.lr=..."
    assert refusal(folder, "experiment=open") == said
    assert refusal(folder, "optimizer=mine").startswith("optimizer.lr is missing")
    with hydra_session(str(folder)) as searchpath:
        for words, rate in (
            (["experiment=open", "optimizer.lr=0.5"], 0.5),
            (["experiment=closed"], 0.3),
            (["optimizer=mine", "optimizer.lr=0.4"], 0.4),
        ):
            assert checked(compose_config([*searchpath, *words])).optimizer["lr"] == rate


def test_an_option_of_settings_has_all_its_keys_and_no_other(folder: Path) -> None:
    (folder / "checkpoint/mine.yaml").write_text("every_steps: 5\n")
    lacks = "checkpoint=mine lacks keys; begin its file with `defaults: [every_epoch, _self_]`"
    assert refusal(folder, "checkpoint=mine") == lacks
    (folder / "checkpoint/mine.yaml").write_text("every_steps: 5\nfoo: 1\n")
    assert refusal(folder, "checkpoint=mine").startswith("checkpoint=mine has no key foo; ")
    (folder / "checkpoint/mine.yaml").write_text("defaults: [every_epoch, _self_]\nevery_steps: 5\n")
    with hydra_session(str(folder)) as searchpath:
        found = checked(compose_config([*searchpath, "checkpoint=mine"])).checkpoint
    assert isinstance(found, Checkpoint) and (found.every_steps, found.every_epochs) == (5, 1)


EVERY_EPOCH = "".join((CONF / "checkpoint/every_epoch.yaml").read_text().partition("every_steps")[1:])


def test_a_file_that_lists_all_settings_and_names_no_schema_has_its_types_and_rules(folder: Path) -> None:
    (folder / "checkpoint/mine.yaml").write_text(EVERY_EPOCH)
    with hydra_session(str(folder)) as searchpath:
        mine, ours = (checked(compose_config([*searchpath, *words])) for words in (["checkpoint=mine"], []))
    assert mine == ours and mine.saves
    (folder / "checkpoint/mine.yaml").write_text(EVERY_EPOCH.replace("keep_last: 2", "keep_last: 1"))
    assert refusal(folder, "checkpoint=mine") == "checkpoint.keep_last=1 is invalid; use 2 or more"
    (folder / "checkpoint/mine.yaml").write_text(EVERY_EPOCH.replace("stop", "go"))
    assert refusal(folder, "checkpoint=mine") == "checkpoint.on_error is invalid; choose stop, warn"
    (folder / "checkpoint/mine.yaml").write_text("monitor: val/loss\nmode: min\nevery_steps: 5\n")
    assert refusal(folder, "checkpoint=mine").startswith("checkpoint.every_epochs is missing")
    (folder / "checkpoint/mine.yaml").write_text("monitor: val/loss\nmode: min\n")
    with hydra_session(str(folder)) as searchpath:
        assert not checked(compose_config([*searchpath, "checkpoint=mine"])).saves


def test_a_group_that_a_file_empties_is_one_sentence(folder: Path) -> None:
    (folder / "experiment/mine.yaml").write_bytes(GLOBAL + b"optimizer: null\n")
    said = "mine.yaml: optimizer is null, not a mapping; give it keys, or leave it out"
    assert refusal(folder, "experiment=mine") == f"{folder}/experiment/{said}"
