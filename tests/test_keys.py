"""Keys that a config does not have are refused everywhere, and what the answer advises works when it is typed."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.errors import ConfigError
from runner.wiring.config.compose import compose_config, hydra_session, register
from runner.wiring.overrides.arguments import check_single, expand
from tests.support.command_line import cli

_ADVICE = re.compile(r"(?:did you mean|write) (.+?)(?:\?| without the \+|$)")


@pytest.fixture
def session() -> Iterator[None]:
    register()
    with hydra_session(None):
        yield


def refusal(*words: str) -> str:
    """Return the sentence that a command line is refused with."""
    with pytest.raises(ConfigError) as error:
        check_single(words)
        compose_config(expand(words))
    return str(error.value)


def advised(sentence: str) -> list[str]:
    """Return the overrides that a sentence advises."""
    match = _ADVICE.search(sentence)
    assert match, sentence
    return shlex.split(match[1])


@pytest.mark.parametrize(
    "word",
    [
        "+checkpoint.foo=1", "++device.x=1", "+early_stopping.foo=1", "+tracker.wandb=true", "+ema.x=1", "+debug.x=1",
        "+warm_start.x=1", "+strategy.x=1", "+model.x=1", "+scheduler.x=1", "+data.x=1", "+learner.x=1",
        "+optimizer.x=1", "+hydra.foo=1", "+hydra.job.foo=1", "+foo=1", "+foo.bar=1",
    ],
)  # fmt: skip
def test_a_key_that_no_schema_has_is_refused_behind_a_plus_too(session: None, word: str) -> None:
    sentence = refusal(word)
    assert "there is no key " in sentence or " has no key " in sentence
    assert f"write {word}" not in sentence


def test_arguments_of_own_classes_and_settings_of_several_models_are_their_affair(session: None) -> None:
    own = ("model=own", "model._target_=a.Net", "+model.hidden=64", "learner._target_=a.Learner", "+learner.at=1")
    config = compose_config(expand([*own, "optimizer=own", "optimizer._target_=a.Sgd", "+optimizer.lr=1"]))
    assert (config.model.hidden, config.learner.at, config.optimizer.lr) == (64, 1, 1)
    several = compose_config(expand(["experiment=gan_digits", "+optimizer.generator={lr:0.5}"]))
    assert several.optimizer.generator.lr == 0.5
    assert "has no key critic" in refusal("experiment=gan_digits", "+optimizer.critic={lr:0.5}")


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("lr=0.1", "optimizer.lr=0.1"),
        ("+lr=0.1", "optimizer.lr=0.1"),
        ("workers=2", "data.workers=2"),
        ("optimizer.lrr=0.1", "optimizer.lr=0.1"),
        ("optimizer.learning_rate=0.1", "optimizer.lr=0.1"),
        ("optimiser.lr=0.1", "optimizer.lr=0.1"),
        ("learning_rate=0.1", "optimizer.lr=0.1"),
        ("weight_decay=0.1", "optimizer.weight_decay=0.1"),
        ("model=lenett", "model=lenet"),
        ("models=lenet", "model=lenet"),
        ("modle=lenet", "model=lenet"),
        ("optimizer=Adam", "optimizer=adam"),
        ("max_epochs=3", "epochs=3"),
        ("trainer.max_epochs=3", "epochs=3"),
        ("epocs=3", "epochs=3"),
        ("gpus=2", "device=cuda device.index=[0,1]"),
        ("devices=2", "device=cuda device.index=[0,1]"),
        ("devices=1", "device=cuda"),
        ("gpus=0", "device=cpu"),
        ("+trainer.max_epochs=3", "epochs=3"),
        ("epochs:5", "epochs=5"),
        ("lr:0.1", "optimizer.lr=0.1"),
        ("early_stopping=3", "early_stopping.patience=3"),
        ("ema=0.9", "ema.decay=0.9"),
        ("warm_start=a.pt", "warm_start.path=a.pt"),
        ("optimizer.lr=1e-3,", "optimizer.lr=1e-3"),
        ("fp16=true", "device.precision=fp16"),
        ("tf32=true", "device.precision=tf32"),
        ("torch_compile=true", "device.compile=true"),
        ("gradient_checkpointing=true", "device.checkpoint_activations=[Block]"),
        ("auto_find_batch_size=true", "micro_batch_size=auto"),
        ("exclude=fc3", "warm_start.exclude=[fc3]"),
        ("patience=3", "early_stopping.patience=3"),
        ("momentum=0.9", "optimizer=rmsprop optimizer.momentum=0.9"),
        ("hidden=3", "model=mlp model.hidden=[3]"),
        ("+epochs=4", "epochs=4"),
        ("+optimizer=sgd", "optimizer=sgd"),
        ("warm_start.freeze=conv", "warm_start.freeze=[conv]"),
        ("+optimizer.amsgrad=true", "optimizer=own optimizer._target_=torch.optim.AdamW +optimizer.amsgrad=true"),
        ("model=own model._target_=a.Net model.hidden=64", "+model.hidden=64"),
        ("data=own data._target_=a.Data data.worker=2", "data.workers=2"),
        ("epochs 5", "epochs=5"),
        ("lr 0.1", "optimizer.lr=0.1"),
        ("lenet", "model=lenet"),
        ("epochs==5", "epochs=5"),
        ("device=cuda:1", "device=cuda device.index=1"),
    ],
)
def test_what_was_meant_is_named_and_works(session: None, words: str, meant: str) -> None:
    typed = words.split()
    found = advised(refusal(*typed).replace("write a list: ", "write ").replace(", or leave it out", ""))
    assert found == meant.split()
    compose_config(expand([*typed[: -1 if "=" in typed[-1] else -2], *found]))


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("--lr 0.1", "optimizer.lr=0.1"),
        ("--epochs=5", "epochs=5"),
        ("-name x", "name=x"),
        ("--cuda", "device=cuda"),
        ("--num-workers 2", "data.workers=2"),
        ("--momentum 0.9 model=mlp", "optimizer=rmsprop optimizer.momentum=0.9"),
        ("--max-epochs 3 --lr 1", "epochs=3"),
    ],
)
def test_a_flag_that_is_none_is_answered_with_the_override(
    capsys: pytest.CaptureFixture[str], words: str, meant: str
) -> None:
    outcome = cli(capsys, *words.split())
    assert outcome.code == 2 and outcome.err.startswith(f"error: {words.split()[0]} is not a flag; ")
    assert outcome.err.count("\n") == 1 and advised(outcome.err.strip()) == meant.split()
    with hydra_session(None):
        compose_config(expand(meant.split()))


def test_an_option_of_a_typed_group_never_gets_the_advice_to_add_a_key(session: None) -> None:
    for word in ("optimizer.lrr=1", "checkpoint.foo=1", "device.gpu=1", "early_stopping.foo=1"):
        assert "+" not in refusal(word)
    assert refusal("checkpoint.zzz=1").startswith("checkpoint=every_epoch has no key zzz; it has monitor, mode, ")
    assert refusal("optimizer.lrr=1").startswith("optimizer=adamw has no key lrr; ")


@pytest.mark.parametrize("mode", [["--cfg", "job"], ["-m"]])
def test_a_sweep_and_a_shown_config_refuse_in_the_same_words(
    work: Path, capsys: pytest.CaptureFixture[str], mode: list[str]
) -> None:
    outcome = cli(capsys, *mode, "optimizer.lrr=1", "+checkpoint.foo=1")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == "error: optimizer=adamw has no key lrr; did you mean optimizer.lr=1?\n"
    assert list(work.iterdir()) == []


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("checkpoint_path=epoch=1/best.tar", "epoch=1/best.tar"),
        ("checkpoint_path=a#b", "a#b"),
        ("checkpoint_path=it's", "it's"),
        ('checkpoint_path=a"b', 'a"b'),
        ("checkpoint_path=a,b", "a,b"),
        ("checkpoint_path=[x", None),
        ("checkpoint_path=C:\\x#\\", "C:\\x#\\"),
        ("checkpoint_path=grün#1 $HOME", "grün#1 $HOME"),
    ],
)
def test_a_value_that_cannot_be_read_is_answered_with_the_quoting_that_a_shell_and_hydra_take(
    session: None, word: str, value: str | None
) -> None:
    sentence = refusal(word)
    if value is None:
        assert sentence == f"{word} cannot be read: a bracket is not closed"
        return
    quoted = re.search(r"write (.+?)( for a text)?$", sentence)
    assert quoted
    [typed] = shlex.split(quoted[1])
    check_single([typed])
    config: Any = compose_config(expand([typed, "task=evaluate"]))
    assert config.checkpoint_path == value


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("learning_rate=", "there is no key learning_rate; did you mean optimizer.lr=...?"),
        ("wandb=true", "there is no key wandb; did you mean tracker=..., one of both, csv, none, tensorboard?"),
        ("dataset=imagenet", "there is no key dataset; did you mean data=..., one of arrays, digits, "),
        ("+foo.bar=1", "there is no key foo.bar; --help lists all keys"),
        (
            "+optimizer.foo=1",
            "optimizer=adamw has no key foo; it has lr, groups, no_decay, layer_decay, freeze, unfreeze_at, "
            "foreach, fused, betas, weight_decay; further",
        ),
        ("data.root=x", "data=digits has no key root; data.root is a key of data=fashion_mnist, data=image_folder, "),
        (
            "model.hidden=8,8",
            "model.hidden=8,8 has several values, which only a sweep accepts; add -m, or write model.hidden=[8,8]",
        ),
        ("optimizer.lr=1,2", "optimizer.lr=1,2 has several values, which only a sweep accepts; add -m"),
        ("epochs=", "epochs= is invalid; use a whole number"),
        ("epochs=abc", "epochs=abc is invalid; use a whole number"),
        ("optimizer.lr=abc", "optimizer.lr=abc is invalid; use a number"),
        ("deterministic=perhaps", "deterministic=perhaps is invalid; use true or false"),
        ("device.precision=fp8", "device.precision=fp8 is invalid; choose fp32, tf32, bf16, fp16"),
        ("seed=null", "seed=null is invalid; give a value"),
        ("=5", "=5 names no key; write key=5"),
        ("epochs =5", "epochs =5 has a space in it; write epochs=5"),
        ("epochs=1,2", "epochs=1,2 has several values, which only a sweep accepts; add -m"),
        ("name=a,b", "name='a,b' is invalid"),
        ("name=ü#x", "name='ü#x' is invalid"),
        ("optimizer=5", "optimizer=5 is invalid; choose an option of optimizer by its name"),
        ("~foo", "~foo deletes nothing"),
        ("foo/bar=3", "there is no group foo/bar"),
        ("nonsense", "'nonsense' is not an override; write settings as key=value, such as epochs=10"),
    ],
)
def test_a_value_or_a_form_that_is_none_is_one_sentence(session: None, word: str, said: str) -> None:
    assert refusal(word).startswith(said)
