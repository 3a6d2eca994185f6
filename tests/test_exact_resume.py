"""Promise 1: interrupted equals uninterrupted, bit for bit."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import runner.checkpoint.format as checkpoint_format
from runner.stateful import Stateful
from tests.support.command_line import TINY, cli
from tests.support.comparing import assert_same_run, difference, entries_of

STEPS = 9  # 3 epochs of 20 samples in batches of 8


def train(capsys: Any, monkeypatch: Any, name: str, *words: str, stop: int | None = None) -> int:
    """Start or go on with a run, stopped by a real SIGTERM in the step after `stop` done ones."""
    monkeypatch.setenv("STOP_AT", "never" if stop is None else str(stop))
    return cli(capsys, *TINY, *words, f"name={name}", "resume=auto").code


ALL = range(STEPS - 1)


@pytest.mark.parametrize(
    ("scheduler", "workers", "steps"),
    [
        ("cosine", 2, (1, 4)),
        ("plateau", 0, (0, 4)),
        pytest.param("cosine", 0, ALL, marks=pytest.mark.slow),
        pytest.param("cosine", 2, ALL, marks=pytest.mark.slow),
        pytest.param("plateau", 0, ALL, marks=pytest.mark.slow),
        pytest.param("plateau", 2, ALL, marks=pytest.mark.slow),
    ],
)
def test_resumed_run_equals_uninterrupted_run_from_every_step(
    runs: Path, capsys: Any, monkeypatch: Any, scheduler: str, workers: int, steps: Iterable[int]
) -> None:
    words = (f"data.workers={workers}", f"scheduler={scheduler}", "scheduler.warmup=1")
    assert train(capsys, monkeypatch, "whole", *words) == 0
    for step in steps:
        assert train(capsys, monkeypatch, f"s{step}", *words, stop=step) == 75
        assert entries_of(runs / f"s{step}/last.tar")["global_step"] == step + 1
        assert train(capsys, monkeypatch, f"s{step}", *words) == 0
        assert_same_run(runs / "whole", runs / f"s{step}")


@pytest.mark.slow
def test_several_interruptions_in_one_epoch_with_the_workers_changed_are_exact(
    runs: Path, capsys: Any, monkeypatch: Any
) -> None:
    train(capsys, monkeypatch, "whole", "data.workers=2")
    for stop, workers in ((3, 2), (4, 0), (5, 2)):
        assert train(capsys, monkeypatch, "x", f"data.workers={workers}", stop=stop) == 75
    assert train(capsys, monkeypatch, "x", "data.workers=1") == 0
    assert_same_run(runs / "whole", runs / "x")


def test_evaluation_at_other_steps_and_other_checkpoints_change_nothing_of_the_training(
    runs: Path, capsys: Any, monkeypatch: Any
) -> None:
    train(capsys, monkeypatch, "whole", "scheduler=cosine")
    train(capsys, monkeypatch, "other", "scheduler=cosine", "eval_every=2", "checkpoint.every_steps=1")
    one, other = entries_of(runs / "whole/last.tar"), entries_of(runs / "other/last.tar")
    for part in ("model", "optimizer", "scheduler", "rng", "data"):
        assert difference(one[f"{part}_state_dict"], other[f"{part}_state_dict"]) is None


@pytest.mark.parametrize("left_out", ["model", "optimizer", "scheduler", "scaler", "data", "rng", "progress"])
def test_leaving_any_component_out_of_the_restored_ones_is_noticed(
    runs: Path, capsys: Any, monkeypatch: Any, left_out: str
) -> None:
    words = ("scheduler=step", "scheduler.unit=step", "scheduler.every=2", "device.precision=fp16")
    train(capsys, monkeypatch, "whole", *words)
    train(capsys, monkeypatch, "x", *words, stop=4)
    original = checkpoint_format.restore_part

    def forgetful(name: str, part: Stateful, state: Any, path: Path) -> None:
        if name != left_out:
            original(name, part, state, path)

    monkeypatch.setattr(checkpoint_format, "restore_part", forgetful)
    train(capsys, monkeypatch, "x", *words)
    newest = max((runs / "x/checkpoints").glob("step_*.tar"))
    ended = difference(entries_of(runs / "whole/last.tar"), entries_of(newest))
    assert ended is not None, f"nobody noticed that {left_out} was not restored"


@pytest.mark.slow
def test_gan_resumes_exactly_from_every_step_of_an_epoch(runs: Path, capsys: Any, monkeypatch: Any) -> None:
    words = (
        "experiment=gan_digits", "model.generator.latent=4", "learner.latent=4", "data=synthetic", "data.size=24",
        "data.shape=[1,16,16]", "batch_size=8", "epochs=2", "tracker=csv", "log_every=1", "checkpoint.every_steps=1",
        "checkpoint.keep_last=100",
    )  # fmt: skip
    assert cli(capsys, *words, "name=whole").code == 0
    for step in range(1, 6):
        target = runs / f"s{step}"
        assert cli(capsys, *words, f"name=s{step}").code == 0
        for path in (target / "checkpoints").iterdir():
            if int(path.stem.removeprefix("step_")) > step:
                path.unlink()
        (target / "last.tar").unlink()
        (target / "status.json").unlink()
        assert cli(capsys, f"resume={target}").code == 0
        assert_same_run(runs / "whole", target)
    names = set(entries_of(runs / "whole/last.tar"))
    assert {"generator_state_dict", "discriminator_state_dict", "generator_optimizer_state_dict"} <= names


def test_a_run_that_fails_saves_its_last_step_though_the_disk_was_away_at_the_former_save(
    runs: Path, capsys: Any
) -> None:
    words = (
        *TINY, "data._target_=tests.own.disturbed.Unplugged", "checkpoint.every_steps=1", "checkpoint.on_error=warn",
    )  # fmt: skip
    outcome = cli(capsys, *words, "checkpoint.asynchronous=false", "name=x")
    assert outcome.code == 1 and "the data has an end here" in outcome.out
    assert entries_of(runs / "x/checkpoints/step_0000000003.tar")["global_step"] == 3
