"""`--help` names each key with its default and the options that have it, and fits a screen a group."""

import re

import pytest

from runner.wiring.config.help import help_text
from runner.wiring.overrides.options import GROUPS, defaults, known_keys
from tests.support.command_line import cli


@pytest.fixture
def text() -> str:
    """The text with each key's sentence in one line."""
    return re.sub(r"\n {16,}", " ", help_text())


@pytest.mark.parametrize(
    "line",
    [
        r"  model: gan, lenet, mlp, own, resnet \(default: lenet\)",
        r"  experiment: fashion_mnist, gan_digits",
        r"  optimizer.lr=0.002 .*Base learning rate. \[rmsprop: 0.001; sgd: 0.05\]",
        r"  optimizer.betas=\[0.9,0.999\] .* \[adam, adamw\]",
        r"  model.hidden=\[128\] .* \[mlp\]",
        r"  model.generator.latent=64 +\[gan\]",
        r"  data.root=null .*IDX files.* \[fashion_mnist, mnist\]",
        r"  data.root=null .*images per class. \[image_folder\]",
        r"  checkpoint.every_epochs=1 .* \[all but off; best_only, every_minutes, every_n_steps: null\]",
        r"  tracker.csv +Writes `metrics.csv`, one row per report. \[both, csv\]",
        r"  scheduler.unit=epoch .*step, epoch, or run.* \[all but none, plateau; onecycle, warmup_stable_decay: run\]",
        r"  early_stopping.patience=null .*",
        r"  early_stopping.min_delta=0.0 .*",
        r"  batch_size=64 +Samples per optimizer step, over all devices.",
    ],
)
def test_a_key_is_shown_with_its_default_and_the_options_that_differ(text: str, line: str) -> None:
    assert re.search(f"^ *{line}$", text, re.M)


def test_every_key_of_conf_is_named_once_a_meaning(text: str) -> None:
    for key in {*defaults(), *known_keys()}:
        set_by_choice = key.endswith(("_target_", ".kind"))
        assert set_by_choice or re.search(rf"^ +{re.escape(key)}=", text, re.M), key


def test_it_keeps_to_the_width_of_the_terminal_and_a_group_to_a_screen(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = cli(capsys, "--help").out
    assert shown.strip() == help_text().strip()
    assert all(len(line) <= 80 for line in shown.splitlines() if re.match(r" +[\w.]+=", line))
    groups = [block for block in shown.split("\n\n") if block.split(":")[0].strip() in GROUPS]
    assert len(groups) == len(GROUPS) and all(block.count("\n") < 40 for block in groups)
