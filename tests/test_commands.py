"""What a user types, and what a user types wrong."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import runner
from runner.run_directory.attempts import read_attempts
from runner.wiring.config.help import help_text
from tests.support import REPOSITORY
from tests.support.command_line import cli
from tests.support.comparing import entries_of

FAST = ("data=synthetic", "data.size=64", "max_steps=3", "log_every=1")


@pytest.fixture(autouse=True)
def work(work: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory, which is the current one, and no cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(work.parent / "no-cache"))
    return work


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["optimizer.lrr=1"], "lrr"),
        (["model=lenett"], "lenett"),
        (["epochs=abc"], "abc"),
        (["batch_size=0"], "batch_size=0"),
        (["batch_size=-1"], "batch_size=-1"),
        (["accumulate=65"], "accumulate"),
        (["optimizer.lr=0"], "optimizer.lr"),
        (["optimizer.lr=nan"], "optimizer.lr"),
        (["data=synthetic", "data.size=0"], "data.size"),
        (["data=synthetic", "data.shape=[1,8,8]"], "16x16"),
        (["data=mnist"], "data.root"),
        (["device=cuda"], "not on this machine"),
        (["device=cuda:1"], "device.index=1"),
        (["device=cuda", "device.index=[0,0]"], "device.index=[0, 0]"),
        (["name=../x"], "name="),
        (["name=taken"], "exists already"),
        (["model=own"], "_target_"),
        (["model=own", "model._target_=os.system"], "os.system"),
        (["model=own", "model._target_=torch.nn.Nothing"], "does not exist"),
        (["+model.width=3"], "width"),
        (["resume=absent.tar"], "absent.tar"),
        (["resume=auto"], "needs a name"),
        (["task=evaluate"], "checkpoint_path"),
        (["task=evaluate", "checkpoint_path=absent.tar"], "absent.tar"),
        (["task=evaluate", "checkpoint_path=taken"], "directory"),
        (["task=evaluate", "checkpoint_path=taken/notes.txt"], "notes.txt"),
        (["max_time=soon"], "max_time"),
        (["epochs=null"], "no end"),
        (["checkpoint.monitor=val/los"], "val/los"),
        (["checkpoint.keep_last=1"], "keep_last"),
        (["scheduler=cosine", "epochs=null", "max_time=5"], "cosine"),
        (["nonsense"], "nonsense"),
        (["epcohs=3"], "did you mean epochs=3?"),
        (["+epcohs=3"], "did you mean epochs=3?"),
        (["checkpoint_path=x.tar"], "task=evaluate"),
        (["output=x.csv"], "task=predict"),
        (["rewind=true"], "resume=FILE"),
        (["resume_allow=[data]"], "it with resume"),
        (["checkpoint.monitor=val/accuracy"], "checkpoint.mode=max"),
        (["experiment=gan_digits", "learner.latent=32"], "learner.latent=32 and model.generator.latent=64"),
        ([*FAST, "optimizer=own", "optimizer._target_=torch.optim.LBFGS"], "LBFGS.step needs a closure"),
        ([*FAST, "optimizer=own", "optimizer._target_=torch.optim.SparseAdam"], "sparse gradients only"),
    ],
)
def test_a_mistake_is_one_sentence_exit_code_2_and_nothing_made(
    work: Path, capsys: Any, words: list[str], said: str
) -> None:
    (work / "taken").mkdir()
    (work / "taken/notes.txt").write_text("mine")
    (work / "outputs/taken").mkdir(parents=True)
    (work / "outputs/taken/notes.txt").write_text("mine")
    before = sorted(work.rglob("*"))
    outcome = cli(capsys, *words)
    assert outcome.code == 2
    assert said in outcome.err and outcome.err.startswith("error: ")
    assert "Traceback" not in outcome.err + outcome.out
    assert sorted(work.rglob("*")) == before


def test_evaluation_needs_the_file_alone_and_ends_with_one_json_object(work: Path, capsys: Any) -> None:
    assert cli(capsys, *FAST, "name=x").code == 0
    before = sorted(work.rglob("*"))
    outcome = cli(capsys, "task=evaluate", "checkpoint_path=outputs/x/best.tar")
    result = json.loads(outcome.out.strip().splitlines()[-1])
    assert outcome.code == 0
    assert result["checkpoint"] == "outputs/x/best.tar" and result["split"] == "test"
    val = cli(capsys, "task=evaluate", "checkpoint_path=outputs/x/best.tar", "data.split=val")
    measured = entries_of(work / "outputs/x/best.tar")["metrics"]["val/loss"]
    assert json.loads(val.out.strip().splitlines()[-1])["loss"] == measured
    assert sorted(work.rglob("*")) == before


def test_a_finished_run_resumed_unchanged_says_so_and_touches_nothing(work: Path, capsys: Any) -> None:
    assert cli(capsys, *FAST, "name=x").code == 0
    before = {path: path.stat().st_mtime_ns for path in (work / "outputs").rglob("*")}
    outcome = cli(capsys, "resume=outputs/x/last.tar")
    assert outcome.code == 0 and "finished already" in outcome.out
    assert {path: path.stat().st_mtime_ns for path in (work / "outputs").rglob("*")} == before


def test_a_finished_run_with_nothing_left_to_do_is_not_said_to_take_a_change(work: Path, capsys: Any) -> None:
    assert cli(capsys, *FAST, "name=x").code == 0
    outcome = cli(capsys, "resume=outputs/x", "optimizer.lr=0.5", "log_every=7")
    assert outcome.code == 0 and "finished already" in outcome.out
    assert "takes effect" not in outcome.out


def test_a_longer_length_goes_on_and_an_explicit_rate_becomes_the_base(work: Path, capsys: Any) -> None:
    assert cli(capsys, *FAST, "name=x", "optimizer.lr=0.1").code == 0
    outcome = cli(capsys, "resume=outputs/x", "max_steps=6", "optimizer.lr=0.05", "scheduler=none")
    assert outcome.code == 0, outcome.err
    assert "optimizer.lr" in outcome.out and "takes effect" in outcome.out
    entries = entries_of(work / "outputs/x/last.tar")
    assert entries["global_step"] == 6
    assert entries["optimizer_state_dict"]["param_groups"][0]["lr"] == 0.05


ANOTHER = ["model=mlp", "data.size=65", "seed=1", "batch_size=32", "learner.label_smoothing=0.1"]


@pytest.mark.parametrize("word", ANOTHER)
def test_what_makes_it_another_run_is_refused_with_the_ways_out(work: Path, capsys: Any, word: str) -> None:
    cli(capsys, *FAST, "name=x")
    outcome = cli(capsys, "resume=outputs/x", "max_steps=6", word)
    assert outcome.code == 2
    assert "resume_allow" in outcome.err and word.split("=")[0].split(".")[0] in outcome.err


def test_resume_allow_goes_on_with_another_batch_size_and_says_that_it_is_not_exact(work: Path, capsys: Any) -> None:
    cli(capsys, *FAST, "name=x")
    outcome = cli(capsys, "resume=outputs/x", "max_steps=6", "batch_size=32", "resume_allow=[batch_size]")
    assert outcome.code == 0, outcome.err
    assert "no longer exact" in outcome.out


def test_an_older_checkpoint_with_newer_ones_beside_it_is_refused(work: Path, capsys: Any) -> None:
    cli(capsys, *FAST, "name=x", "checkpoint.every_steps=1", "checkpoint.keep_last=5")
    outcome = cli(capsys, "resume=outputs/x/checkpoints/step_0000000001.tar")
    assert outcome.code == 2 and "newer" in outcome.err


def test_all_checkpoints_damaged_is_an_error_and_never_a_silent_new_start(work: Path, capsys: Any) -> None:
    cli(capsys, *FAST, "name=x")
    for path in [*(work / "outputs/x").rglob("*.tar")]:
        path.write_bytes(path.read_bytes()[:-30])
    outcome = cli(capsys, *FAST, "name=x", "resume=auto")
    assert outcome.code == 2 and "none of the" in outcome.err


def test_the_first_config_is_never_overwritten_and_each_attempt_is_recorded(work: Path, capsys: Any) -> None:
    cli(capsys, *FAST, "name=x")
    config = (work / "outputs/x/config.yaml").read_text()
    hydra = (work / "outputs/x/.hydra/config.yaml").read_text()
    cli(capsys, "resume=outputs/x", "max_steps=5")
    assert (work / "outputs/x/config.yaml").read_text() == config
    assert (work / "outputs/x/.hydra/config.yaml").read_text() == hydra
    first, second = read_attempts(work / "outputs/x")
    assert first.step == 0 and first.checkpoint is None and "\n".join(first.config) == config
    assert second.overrides == ["resume=outputs/x", "max_steps=5"] and "max_steps: 5" in second.config
    assert second.checkpoint == f"step_{second.step:010d}.tar"
    assert json.loads((work / "outputs/x/status.json").read_text())["attempt"] == 2


def test_off_writes_no_checkpoint(work: Path, capsys: Any) -> None:
    assert cli(capsys, *FAST, "name=x", "checkpoint=off").code == 0
    assert not list((work / "outputs").rglob("*.tar"))


def test_a_diverging_run_ends_with_1_and_its_last_good_checkpoint(work: Path, capsys: Any) -> None:
    words = ("optimizer=sgd", "optimizer.lr=1e30", "scheduler=none", "checkpoint.every_steps=1", "max_steps=50")
    outcome = cli(capsys, *FAST, *words, "name=x", "model=mlp")
    assert outcome.code == 1 and "became" in outcome.out
    assert json.loads((work / "outputs/x/status.json").read_text())["state"] == "failed"
    for path in (work / "outputs/x").rglob("*.tar"):
        assert entries_of(path)["loss"] < float("inf")


@pytest.mark.slow
def test_a_sweep_of_the_basic_launcher_makes_one_directory_a_job_and_a_repetition_skips_them(
    work: Path, capsys: Any
) -> None:
    words = ("-m", "hydra/launcher=basic", *FAST, "tracker=none", "model=lenet,mlp", "name=s")
    assert cli(capsys, *words).code == 0
    jobs = sorted(path.parent for path in (work / "outputs/s").glob("*/status.json"))
    assert len(jobs) == 2 and all((job / "last.tar").exists() for job in jobs)
    assert cli(capsys, *words).code == 0
    assert sorted(path.parent for path in (work / "outputs/s").glob("*/status.json")) == jobs
    assert all(json.loads((job / "status.json").read_text())["attempt"] == 1 for job in jobs)


def test_load_gives_the_model_in_eval_mode(work: Path, capsys: Any) -> None:
    cli(capsys, *FAST, "name=x")
    model = runner.load("outputs/x/best.tar")
    assert not model.training
    weights = entries_of(work / "outputs/x/best.tar")["model_state_dict"]
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


CONFIGS = sorted(path.relative_to(REPOSITORY / "conf") for path in (REPOSITORY / "conf").glob("*/*.yaml"))
_NEEDS = {
    "model/own": ["model._target_=runner.models.Mlp"],
    "data/own": ["data._target_=runner.data.Digits", "max_steps=2"],
    "learner/own": ["learner._target_=runner.learners.Classification"],
    "optimizer/own": ["optimizer._target_=torch.optim.RMSprop", "+optimizer.lr=0.01"],
    "scheduler/own": ["scheduler._target_=torch.optim.lr_scheduler.ExponentialLR", "+scheduler.gamma=0.9"],
    "model/gan": ["learner=gan", "checkpoint.monitor=val/generator_loss"],
    "learner/gan": ["model=gan"],
    "learner/regression": ["data=arrays", "data.path=points.npz", "model=mlp"],
    "data/arrays": ["data.path=points.npz", "learner=regression", "model=mlp"],
    "data/image_folder": ["data.root=images"],
}


@pytest.mark.parametrize("path", CONFIGS, ids=str)
def test_every_config_runs(work: Path, capsys: Any, path: Path) -> None:
    group, option = path.parts[0], path.stem
    np.savez("points.npz", train_inputs=np.zeros((20, 4)), train_targets=np.zeros(20))
    for name in ("cat", "dog"):
        Path(f"images/train/{name}").mkdir(parents=True)
        Image.new("RGB", (40, 30), "red").save(f"images/train/{name}/1.png")
    data = () if group == "data" or option == "regression" else FAST[:2]
    more = _NEEDS.get(f"{group}/{option}", [])
    outcome = cli(capsys, *data, "max_steps=2", "batch_size=16", f"{group}={option}", *more, "name=x")
    if option in ("cuda", "mps", "mnist", "fashion_mnist") and outcome.code == 2:
        assert "not on this machine" in outcome.err or "is not in" in outcome.err
        return
    if option in ("ddp", "fsdp"):
        assert outcome.code == 2 and "start them with torchrun" in outcome.err
        return
    assert outcome.code == 0, outcome.err + outcome.out


def test_help_explains_the_sweeps_too() -> None:
    for key in ("hydra.launcher.n_jobs=null", "hydra/launcher=slurm", "hydra.sweeper.n_trials=20"):
        assert key in help_text()


def test_an_evaluation_may_take_another_batch_size(work: Path, capsys: Any) -> None:
    cli(capsys, *FAST, "name=x")
    outcome = cli(capsys, "task=evaluate", "checkpoint_path=outputs/x/best.tar", "batch_size=7")
    assert outcome.code == 0, outcome.err


def test_an_optimizer_that_was_allowed_to_change_its_options_takes_them(work: Path, capsys: Any) -> None:
    cli(capsys, *FAST, "name=x", "optimizer=adam")
    outcome = cli(capsys, "resume=outputs/x", "max_steps=5", "optimizer=adamw", "resume_allow=[optimizer]")
    assert outcome.code == 0, outcome.err + outcome.out
    group = entries_of(work / "outputs/x/last.tar")["optimizer_state_dict"]["param_groups"][0]
    assert group["weight_decay"] == 0.01
