"""The configs of a sweep's jobs are Hydra's own, composed once a choice of groups."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf

from runner.errors import ConfigError
from runner.wiring.config.compose import compose_config, compose_job, hydra_session, register

WORDS = [
    ["seed=3", "optimizer.lr=1e-2"],
    ["optimizer.momentum=0.5", "model.hidden=[8,4]", "optimizer=sgd", "model=mlp"],
    ["model=own", "model._target_=tests.own.jobs.Fragile", "+model.case='a, b=c'", "+model.deep.er={x:1}"],
    ["++seed=4", "~epochs", "~scheduler", "trust=[a.b,c.d]", "name='x y'"],
    ["hydra.job.config.override_dirname.exclude_keys=[seed]", "seed=1", "experiment=fashion_mnist", "batch_size=2"],
]
WRONG = [["sed=3"], ["seed=x"], ["optimizer.momentun=1", "optimizer=sgd"]]


@pytest.fixture
def loader() -> Iterator[Any]:
    register()
    with hydra_session(None):
        yield GlobalHydra.instance().config_loader()


@pytest.fixture
def master(loader: Any) -> Any:
    return loader.load_configuration("config", ["batch_size=16,32", "hydra.verbose=false"], RunMode.MULTIRUN)


def test_each_config_is_the_one_that_hydra_composes_also_after_others(loader: Any, master: Any) -> None:
    for words in [*WORDS, WORDS[0]]:
        ours, hydras = compose_job(master, words), loader.load_sweep_config(master, words)
        assert OmegaConf.to_yaml(ours) == OmegaConf.to_yaml(hydras)
        assert ours.hydra.sweep.subdir[-8:] == hydras.hydra.sweep.subdir[-8:]


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_a_wrong_override_is_refused_as_a_single_run_refuses_it(master: Any, words: list[str]) -> None:
    with pytest.raises(ConfigError) as alone:
        compose_config(words)
    with pytest.raises(ConfigError) as job:
        compose_job(master, words)
    assert str(job.value) == str(alone.value)


def test_a_file_that_has_changed_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    with hydra_session(str(tmp_path)) as searchpath:
        for epochs in (3, 44):
            (tmp_path / "experiment/mine.yaml").write_text(f"# @package _global_\nepochs: {epochs}\n")
            assert compose_config([*searchpath, "experiment=mine"]).epochs == epochs
            changed = compose_config([*searchpath, "experiment=mine", "epochs=1", "optimizer.lr=0.5"])
            assert (changed.epochs, changed.optimizer.lr) == (1, 0.5)
            assert compose_config([*searchpath, "experiment=mine"]).epochs == epochs  # and is not written to
