"""`hydra/sweeper=optuna`: what may be searched, what a study is told, and that no kill costs or repeats a trial."""

import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from hydra.core.config_store import ConfigStore
from optuna.samplers import RandomSampler
from optuna.study import Study
from optuna.trial import TrialState

from runner.commands.sweep.search import _with_values
from runner.errors import ConfigError
from runner.run_directory.status import Status, write_status
from runner.sweeps.jobs import Job
from runner.sweeps.optuna.sampling import make_pruner, make_sampler
from runner.sweeps.optuna.space import Choice, Numbers
from runner.sweeps.optuna.study import JOB, OVERRIDES, Search, best_of, make_study, open_study, outstanding, summary
from runner.sweeps.optuna.trial_jobs import Jobs, StudySource
from runner.sweeps.results.objectives import optimal
from runner.sweeps.schedule import Ended
from runner.wiring.config.compose import hydra_session, register
from runner.wiring.schema.sweeping import Optuna
from runner.wiring.search.search import read_search
from runner.wiring.search.space import overrides_of, read_space
from runner.wiring.search.sweep_options import options_of
from tests.support.command_line import cli
from tests.support.comparing import rows_in
from tests.support.processes import finish, start, until

TIMES = ("2026-01-01T00:00:00+00:00",) * 2  # of a status

SEARCH = ("-m", "hydra/sweeper=optuna", "name=s")
LR = "optimizer.lr=interval(1e-4,1e-1)"


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("model=lenet,mlp,lenet", Choice("model", ["lenet", "mlp"])),
        ("+model.hidden=choice([8],[8,'x y'])", Choice("+model.hidden", ["[8]", "[8,'x y']"])),
        ("epochs=range(1,10,3)", Numbers("epochs", 1, 7, 3)),
        ("epochs=range(10,1,-2)", Numbers("epochs", 2, 10, 2)),
        ("ema.decay=range(0.1,0.5,0.1)", Numbers("ema.decay", 0.1, 0.4, 0.1)),
        (LR, Numbers("optimizer.lr", 1e-4, 1e-1)),
        ("optimizer.lr=tag(log,interval(1e-4,1e-1))", Numbers("optimizer.lr", 1e-4, 1e-1, log=True)),
        ("batch_size=tag(int,log,interval(8,64))", Numbers("batch_size", 8, 64, log=True)),
        ("batch_size=int(interval(8,64))", Numbers("batch_size", 8, 64)),
    ],
)
def test_the_space_is_read_in_hydras_sweep_syntax(word: str, found: Any) -> None:
    fixed, space = read_space(["epochs=3", "name=s", word], None)
    assert [vars(parameter) for parameter in space] == [vars(found)] and space == [found]
    assert fixed == [other for other in ("epochs=3", "name=s") if not word.startswith(other.split("=")[0])]
    assert read_space([str(found)], None)[1] == space


def test_values_of_a_step_are_written_without_the_noise_of_adding_it_up() -> None:
    numbers = Numbers("ema.decay", 0.1, 0.4, 0.1)
    assert [numbers.override(0.1 + k * 0.1) for k in range(4)] == [f"ema.decay=0.{k}" for k in range(1, 5)]


def test_the_command_line_counts_more_than_the_mapping_of_the_config() -> None:
    params = overrides_of({"optimizer": {"lr": "interval(0,1)"}, "epochs": 3, "clip_norm": None, "model": "lenet,mlp"})
    assert params == ["optimizer.lr=interval(0,1)", "epochs=3", "clip_norm=null", "model=lenet,mlp"]
    fixed, space = read_space([*params, "model=mlp", "epochs=range(1,3)"], None)
    assert fixed == ["clip_norm=null", "model=mlp"]
    assert space == [Numbers("optimizer.lr", 0.0, 1.0), Numbers("epochs", 1, 2, 1)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["optimizer.lr=0.1"], "nothing to search"),
        (["optimizer.lr=interval(0.1,0.01)"], "from a number to a larger one"),
        (["optimizer.lr=interval(0,inf)"], "from a number to a larger one"),
        (["optimizer.lr=tag(log,interval(0,1))"], "starts above 0"),
        (["optimizer.lr=tag(lgo,interval(0.1,1))"], "the only tags are log and int"),
        (["seed=tag(log,range(1,9))"], "for an interval"),
        (["seed=tag(int,interval(0.5,9))"], "from a whole number"),
        (["seed=range(5,5)"], "holds no value"),
        (["seed=range(0,9,-1)"], "holds no value"),
        (["name=a,b"], "name cannot be searched"),
    ],
)
def test_a_space_that_cannot_be_is_one_sentence(words: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_space(words, None)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["optimizer.lrr=interval(0,1)"], "lrr"),
        ([LR, "hydra.sweeper.sampler=TPE"], "use one of GPSampler"),
        ([LR, "hydra/launcher=basic"], "use hydra/launcher=local"),
        ([LR, "+hydra.sweeper.storage=x"], "no hydra.sweeper.storage; the study is study.db in"),
        ([LR, "hydra.sweeper.direction=maximize"], "no hydra.sweeper.direction; use checkpoint.mode=min or max"),
        ([LR, "hydra.sweeper.study_name=x"], "no hydra.sweeper.study_name; the study is found by name="),
        ([LR, "hydra.sweeper.trials=9"], "no hydra.sweeper.trials; its keys are n_trials, "),
        ([LR, "hydra.sweeper.sampler.seed=9"], "'hydra.sweeper.sampler_options={...}'"),
        ([LR, "hydra/sweeper/sampler=tpe"], "write hydra.sweeper.sampler=..."),
        ([LR, "hydra.launcher.njobs=2"], "no hydra.launcher.njobs; its keys are n_jobs, "),
        ([LR, "hydra.launcher.time_limit=1h"], "without hydra/launcher=slurm; add that"),
        ([LR, "hydra/sweeper=basic"], "add hydra/sweeper=optuna"),
        (["seed=0,1", "hydra/sweeper=basic", "hydra.sweeper.n_trials=3"], "without hydra/sweeper=optuna; add that"),
        ([LR, "hydra/sweeper=ax"], "there is no hydra/sweeper=ax here; choose basic, optuna, or install"),
        ([LR, "hydra/launcher=submitit_local"], "there is no hydra/launcher=submitit_local here; choose basic, local"),
        ([LR, "hydra.sweep.subdir=x"], "hydra.sweep.subdir cannot be set"),
    ],
)
def test_a_mistake_is_one_sentence_and_makes_nothing(work: Path, capsys: Any, words: list[str], said: str) -> None:
    outcome = cli(capsys, *SEARCH, *words)
    assert outcome.code == 2 and said in outcome.err and "Traceback" not in outcome.err, outcome.err
    assert outcome.err.startswith("error: ") and not list(work.iterdir())


OPTIONS = {
    "_target_": "x", "n_trials": 9, "sampler": "TPESampler", "sampler_options": None, "seed": 0,
    "pruner": "MedianPruner", "pruner_options": None, "metrics": None, "params": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("words", "options", "said"),
    [
        (["model=lenet,mpl"], {}, "did you mean model=mlp"),
        (["batch_size=interval(8,64)"], {}, r"tag\(int,interval\(...\)\)"),
        ([LR, "batch_size=0"], {}, "batch_size=0"),
        ([LR], {"n_trials": 0}, "n_trials=0"),
        ([LR], {"params": ["optimizer.lr"]}, "is invalid; use a mapping"),
        ([LR, "tracker=tensorboard"], {}, "tracker=csv, or hydra.sweeper.pruner=null"),
        ([LR, "checkpoint=off"], {}, "hydra.sweeper.pruner=null"),
        ([LR], {"metrics": {"val/accuracy": "max"}}, "checkpoint.monitor=val/accuracy"),
        ([LR], {"metrics": {"val/loss": "max", "val/accuracy": "max"}}, "checkpoint.mode is min"),
        ([LR], {"metrics": {"val/loss": "least"}}, "val/accuracy: max}"),
        ([LR, "checkpoint=off"], {"metrics": {"val/loss": "min", "val/accuracy": "max"}}, "checkpoint=off"),
    ],
)
def test_a_search_that_cannot_be_is_one_sentence(words: Any, options: Any, said: str) -> None:
    register()
    with hydra_session(None), pytest.raises(ConfigError, match=said):
        read_search(options_of(Optuna, {**OPTIONS, **options}, "hydra.sweeper"), words, None)


def test_a_sampler_and_a_pruner_that_cannot_be_are_answered_with_what_there_is() -> None:
    for make, said in (
        (lambda: make_sampler("GridSampler", {}, 0), "use one of GPSampler"),
        (lambda: make_sampler("TPESampler", {"startup": 3}, 0), "no option startup; use consider_prior"),
        (lambda: make_sampler("TPESampler", {"seed": 3}, 0), "no option seed"),
        (lambda: make_pruner("Median", {}), "use one of HyperbandPruner"),
        (lambda: make_pruner("MedianPruner", {"n_startup_trials": -1}), "is invalid for MedianPruner"),
    ):
        with pytest.raises(ConfigError, match=said):
            make()
    assert isinstance(make_sampler("TPESampler", {"n_startup_trials": 3}, 0), optuna.samplers.TPESampler)
    assert isinstance(make_pruner(None, {}), optuna.pruners.NopPruner)


def test_without_optuna_it_is_said_how_to_get_it(work: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)  # as good as not installed
    outcome = cli(capsys, *SEARCH, LR)
    assert outcome.code == 2 and 'python -m pip install "runner-train[optuna]"' in outcome.err
    assert not list(work.iterdir())


@pytest.mark.slow
def test_a_namesake_from_another_package_does_not_come_between(work: Path, capsys: Any) -> None:
    @dataclass
    class Foreign:
        _target_: str = "elsewhere.Sweeper"
        storage: str | None = None

    for group, name in (("sweeper", "optuna"), ("launcher", "slurm"), ("launcher", "ray")):
        ConfigStore.instance().store(group=f"hydra/{group}", name=name, node=Foreign, provider="hydra_foreign")
    for words in ((*SEARCH, LR), ("-m", "name=s", "seed=0,1", "hydra/launcher=slurm", "hydra.launcher.cluster=local")):
        outcome = cli(capsys, *words, "hydra.launcher.preview=true")
        assert outcome.code == 0 and "would run" in outcome.out, outcome.err


@pytest.mark.slow
def test_a_preview_says_what_would_run_and_makes_nothing(work: Path, capsys: Any) -> None:
    params = "hydra.sweeper.params={optimizer.lr:'interval(0,1)'}"
    outcome = cli(capsys, *SEARCH, params, "hydra.launcher.preview=true", "hydra.sweeper.n_trials=7")
    assert outcome.code == 0 and "7 would run: 7 new" in outcome.out and not list(work.iterdir())


# A study with jobs that are played: their files are real, only nobody trains.

SPACE = (Numbers("x", 0.0, 1.0), Choice("model", ["a", "b"]))


@pytest.fixture(autouse=True)
def work(work: Path) -> Path:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return work


def search(*metrics: str, config: str = "abc") -> Search:
    return Search([str(one) for one in SPACE], dict.fromkeys(metrics or ("val/loss",), "min"), config, ["epochs=3"])


def study_of(work: Path, *metrics: str) -> Study:
    """Open the study as a command does, with a sampler of its own."""
    study = make_study(work, search(*metrics))
    study.sampler = RandomSampler(seed=len(study.trials))
    return study


def source_of(work: Path, study: Study, n_trials: int, *metrics: str, space: Sequence[Any] = SPACE) -> StudySource:
    jobs = Jobs(
        of=lambda words: Job(work / ",".join(words), words),
        instead=lambda number: Job(work / f"trial_{number}", ()),
        begins=lambda job: None,
        pruned=lambda job: None,
    )
    source, left = StudySource(study, space, metrics or ("val/loss",), jobs), outstanding(study, n_trials)
    for trial in left.failed:
        study.enqueue_trial(trial.params, user_attrs={OVERRIDES: trial.user_attrs[OVERRIDES]})
    source.want(left.begun, left.total - len(left.begun))
    return source


def evaluated(job: Job, *losses: float) -> None:
    """Have the job's evaluations so far in its metrics.csv."""
    job.directory.mkdir(exist_ok=True)
    rows = "".join(f"{step * 10},{step},{loss!r}\n" for step, loss in enumerate(losses, 1))
    (job.directory / "metrics.csv").write_text(f"step,epoch,val/loss\n{rows}")


def end_job(job: Job, best: float | None, state: str = "finished") -> Ended:
    """Let the job end, with this best value."""
    job.directory.mkdir(exist_ok=True)
    write_status(job.directory, Status(state, 3, 3, 1, None, best, os.getpid(), platform.node(), *TIMES))
    return Ended(job, 0 if state == "finished" else 75, "", 1.0)


def take(source: StudySource) -> Job:
    job = source.take()
    assert job is not None
    return job


@pytest.mark.slow
def test_a_study_that_was_killed_goes_on_with_its_trials_and_draws_no_value_twice(work: Path) -> None:
    first = source_of(work, study_of(work), 6)
    done, killed = take(first), [take(first), take(first)]
    first.ended(end_job(done, 0.5))
    second = source_of(work, study_of(work), 6)
    assert [take(second).overrides for _ in killed] == [job.overrides for job in killed]
    for job in killed:
        second.ended(end_job(job, 0.7))
    drawn = [take(second) for _ in range(3)]
    assert second.take() is None
    assert len({job.overrides[0] for job in (done, *killed, *drawn)}) == 6
    for job in drawn:
        second.ended(end_job(job, 0.3))
    study = open_study(work, search())
    assert study is not None and summary(study) == "6 finished"
    assert outstanding(study, 6).total == 0 and outstanding(study, 8).new == 2
    assert best_of(study) == {"name": "optuna", "best_params": study.best_params, "best_value": 0.3}


def test_a_trial_whose_values_were_drawn_in_part_when_it_was_killed_gets_the_rest(work: Path) -> None:
    study = study_of(work)
    x = study.ask().suggest_float("x", 0.0, 1.0)
    job = take(source_of(work, study_of(work), 1))
    assert job.overrides[0] == f"x={x!r}" and job.overrides[1] in ("model=a", "model=b")


def test_a_trial_that_ended_unseen_is_told_from_its_files_and_one_that_was_stopped_is_resumed(work: Path) -> None:
    first = source_of(work, study_of(work), 2)
    unseen, stopped = take(first), take(first)
    evaluated(unseen, 0.5)
    assert first.given_up([unseen, stopped]) == []
    evaluated(unseen, 0.5, 0.25)
    end_job(unseen, 0.25)
    first.ended(end_job(stopped, 0.5, "interrupted"))
    second = source_of(work, study_of(work), 2)
    assert take(second).overrides == stopped.overrides and second.take() is None and second.told == 1
    told, running = study_of(work).trials
    assert (told.value, told.intermediate_values) == (0.25, {1: 0.5, 2: 0.25}) and running.value is None


def test_a_pruner_sees_each_evaluation_once_and_what_it_gives_up_is_a_result(work: Path) -> None:
    study = study_of(work)
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=1)
    source = source_of(work, study, 2)
    good, bad = take(source), take(source)
    assert source.given_up([good, bad]) == []  # they have no metrics.csv yet
    evaluated(good, 0.5, 0.4, 0.3)
    assert source.given_up([good]) == [] and source.given_up([good]) == []
    source.ended(end_job(good, 0.3))
    evaluated(bad, 0.3)
    assert source.given_up([bad]) == []
    evaluated(bad, 0.3, 0.9)
    assert source.given_up([bad]) == [] and source.given_up([bad]) == []  # its best is no worse than the median
    evaluated(bad, 0.9, 0.9)
    study.pruner = optuna.pruners.ThresholdPruner(upper=1.0)
    evaluated(bad, 0.3, 0.9, 2.0, 2.5)
    assert source.given_up([bad]) == [bad]
    ended = end_job(bad, 0.3, "interrupted")
    source.ended(Ended(bad, ended.code, "", 1.0, given_up=True))
    first, second = study_of(work).trials
    assert (first.state, first.value, first.intermediate_values) == (
        TrialState.COMPLETE, 0.3, {1: 0.5, 2: 0.4, 3: 0.3},
    )  # fmt: skip
    assert (second.state, second.value) == (TrialState.PRUNED, 2.5)
    assert second.intermediate_values == {1: 0.3, 2: 0.9, 3: 2.0, 4: 2.5}
    assert outstanding(study, 2).total == 0


def test_values_that_were_drawn_before_are_told_their_result_without_a_run(work: Path) -> None:
    space = [Choice("model", ["a"])]
    source = source_of(work, study_of(work), 5, space=space)
    job = take(source)
    assert source.take() is None and source.told == 0  # four twins wait for its end
    source.ended(end_job(job, 0.5))
    assert [trial.value for trial in study_of(work).trials] == [0.5] * 5 and source.told == 4
    more = source_of(work, study_of(work), 7, space=space)
    assert more.take() is None and more.told == 2
    assert [trial.value for trial in study_of(work).trials] == [0.5] * 7


def test_twins_of_a_pruned_trial_are_pruned_as_well(work: Path) -> None:
    space = [Choice("model", ["a"])]
    source = source_of(work, study_of(work), 2, space=space)
    job = take(source)
    assert source.take() is None
    evaluated(job, 0.9)
    source.ended(Ended(job, end_job(job, 0.9, "interrupted").code, "", 1.0, given_up=True))
    assert source_of(work, study_of(work), 3, space=space).take() is None
    found = [(trial.state, trial.value) for trial in study_of(work).trials]
    assert found == [(TrialState.PRUNED, 0.9)] * 3


def test_a_failed_trial_is_no_result_and_its_values_are_run_again_once(work: Path) -> None:
    first = source_of(work, study_of(work), 2)
    bad, good = take(first), take(first)
    first.ended(Ended(bad, 1, "exit code 1", 1.0))
    first.ended(end_job(good, 0.5))
    assert first.take() is None and summary(study_of(work)) == "1 finished, 1 failed"
    for _ in range(2):  # it fails again
        again = source_of(work, study_of(work), 2)
        assert take(again).overrides == bad.overrides and again.take() is None
        again.ended(Ended(bad, 1, "exit code 1", 1.0))
    assert outstanding(study_of(work), 2).total == 1
    mended = source_of(work, study_of(work), 3)
    assert take(mended).overrides == bad.overrides and take(mended).overrides not in (bad.overrides, good.overrides)
    mended.ended(end_job(bad, 0.4))
    assert [len(outstanding(study_of(work), 9).failed), len(outstanding(study_of(work), 9).begun)] == [0, 1]


def test_a_run_without_a_value_and_values_that_make_no_config_are_failures_that_are_reported(work: Path) -> None:
    source = source_of(work, study_of(work), 1)
    source.ended(end_job(take(source), None))
    assert [failure.reason for failure in source.failures] == ["its best checkpoint has no val/loss"]

    def refuse(words: Sequence[str]) -> Job:
        raise ConfigError("these cannot be together")

    jobs = Jobs(of=refuse, instead=lambda n: Job(work / f"trial_{n}", ()), begins=print, pruned=print)
    source = StudySource(study_of(work), SPACE, ["val/loss"], jobs)
    source.want([], 1)
    assert source.take() is None
    [failure] = source.failures
    assert failure.failed and "together" in failure.job.log.read_text()
    assert summary(study_of(work)) == "2 failed"


def test_several_objectives_are_read_from_the_best_checkpoint(work: Path) -> None:
    study = study_of(work, "val/loss", "val/size")
    source = source_of(work, study, 3, "val/loss", "val/size")
    for metrics in ({"val/loss": 0.5, "val/size": 2.0}, {"val/loss": 0.4, "val/size": 3.0}, {"val/loss": 0.3}):
        job = take(source)
        ended = end_job(job, 0.9)
        torch.save({"metrics": metrics}, job.directory / "best.tar")
        assert source.given_up([job]) == []
        source.ended(ended)
    assert [trial.values for trial in study.trials] == [[0.5, 2.0], [0.4, 3.0], None]
    assert [failure.reason for failure in source.failures] == ["its best checkpoint has no val/loss and val/size"]
    best = best_of(study)
    assert best is not None and [solution["values"] for solution in best["solutions"]] == [[0.5, 2.0], [0.4, 3.0]]


def test_no_run_beats_an_optimal_one_in_every_objective() -> None:
    runs = [{"a": 1.0, "b": 1.0}, {"a": 2.0, "b": 3.0}, {"a": 2.0, "b": 0.0}, {"a": 1.0}, {"a": 1.0, "b": 1.0}]
    assert optimal(runs, {"a": "min", "b": "max"}) == [True, True, False, False, True]


def test_a_study_of_another_search_or_a_damaged_one_is_refused(work: Path) -> None:
    study_of(work).ask()
    for other in (search("val/accuracy"), search(config="abd")):
        with pytest.raises(ConfigError, match="name="):
            open_study(work, other)
    (work / "study.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(ConfigError, match="move it away"):
        open_study(work, search())


def test_no_sampler_that_keeps_pickles_in_the_study_is_to_be_had() -> None:
    with pytest.raises(ConfigError, match="sampler=CmaEsSampler is invalid"):
        make_sampler("CmaEsSampler", {}, 0)


@pytest.mark.parametrize("value", [5, [], {"space": []}, {**vars(search()), "metrics": 5}], ids=str)
def test_a_study_that_says_odd_things_of_its_search_is_refused(work: Path, value: Any) -> None:
    study_of(work).set_user_attr("search", value)
    with pytest.raises(ConfigError, match="its search is not recorded"):
        open_study(work, search())


@pytest.mark.parametrize(("name", "value"), [(OVERRIDES, 5), (OVERRIDES, [1]), (JOB, ["../x"])])
def test_a_trial_that_says_odd_things_of_its_job_is_refused(work: Path, name: str, value: Any) -> None:
    study_of(work).ask().set_user_attr(name, value)
    with pytest.raises(ConfigError, match="move it away"):
        open_study(work, search())


def test_a_study_with_other_directions_than_its_metrics_is_refused(work: Path) -> None:
    optuna.create_study(storage="sqlite:///study.db", study_name="search", direction="maximize")
    with pytest.raises(ConfigError, match="its directions"):
        open_study(work, search())


def test_a_trial_with_values_that_are_not_of_the_space_is_a_failure_and_the_others_go_on(work: Path) -> None:
    study_of(work).enqueue_trial({"model": "trust=[os]"})
    source = source_of(work, study_of(work), 2)
    assert "trust" not in str(take(source).overrides) and source.failures[0].reason.endswith("outside the space")


# Real processes.

RUN = (
    "hydra.launcher.n_jobs=2", "model=own", "model._target_=tests.own.jobs.Graded", "data=own",
    "data._target_=tests.own.points.NoisyPoints", "batch_size=8", "tracker=csv", "device=cpu", "checkpoint=best_only",
)  # fmt: skip


def results(work: Path) -> list[dict[str, str]]:
    return rows_in(work / "outputs/s/results.csv")


@pytest.mark.slow
def test_thirty_trials_killed_twice_are_thirty_results_at_the_end(work: Path) -> None:
    words = ("+model.x=interval(0,1)", "+model.pause=0.06", "epochs=3", "hydra.sweeper.n_trials=30")
    for enough in (6, 14):
        process = start(work, *SEARCH, *RUN, *words)
        until(lambda enough=enough: len(list(work.glob("outputs/s/*/status.json"))) >= enough, process)
        process.kill()
        finish(process)
    code, said = finish(start(work, *SEARCH, *RUN, *words))
    assert code == 0 and "Warning" not in said and "[I " not in said, said
    trials = optuna.load_study(study_name="search", storage="sqlite:///outputs/s/study.db").trials
    assert len(trials) == 30 and len({trial.params["+model.x"] for trial in trials}) == 30
    pruned = {trial.user_attrs[JOB] for trial in trials if trial.state is TrialState.PRUNED}
    assert pruned and {trial.state for trial in trials} == {TrialState.COMPLETE, TrialState.PRUNED}
    rows = {row["job"]: row for row in results(work)}
    assert len(rows) == 30 and {name for name, row in rows.items() if row["state"] == "pruned"} == pruned
    for trial in trials:
        status = json.loads((work / "outputs/s" / trial.user_attrs[JOB] / "status.json").read_text())
        if trial.state is TrialState.COMPLETE:
            assert status["state"] == "finished" and status["best_metric"] == trial.value
        assert float(rows[trial.user_attrs[JOB]]["val/loss"]) == status["best_metric"]


@pytest.mark.slow
def test_failed_trials_are_borne_and_run_again_and_several_objectives_have_a_front(work: Path) -> None:
    (work / "options/experiment").mkdir(parents=True)
    (work / "options/experiment/tune.yaml").write_text(
        "# @package _global_\nepochs: 2\nhydra:\n  sweeper:\n    n_trials: 6\n"
        "    metrics: {val/loss: min, val/accuracy: max}\n    params: {+model.x: 'choice(0.1,0.5)'}\n"
    )
    words = (*SEARCH, *RUN, "--config-dir", "options", "experiment=tune", "+model.case=good,raises")
    code, said = finish(start(work, *words))
    assert code == 1 and "case-raises-" in said and "no trial is pruned" in said, said
    code, said = finish(start(work, *words, MENDED="1"))
    assert code == 0 and "Pareto-optimal in val/loss, val/accuracy" in said, said
    rows = results(work)
    assert 1 < len(rows) <= 4 and {row["state"] for row in rows} == {"finished"}
    front = [row for row in rows if row["pareto"] == "true"]
    assert front == rows[: len(front)] and front and not (work / "outputs/s/best").exists()
    assert all(float(row["val/loss"]) > 0 and 0 <= float(row["val/accuracy"]) <= 1 for row in rows)
    assert "solutions" in (work / "outputs/s/optimization_results.yaml").read_text()


def test_the_best_values_are_written_as_what_they_are() -> None:
    best = {
        "name": "optuna",
        "best_params": {"a": 0.5, "b": "[8,16]", "c": "3", "d": "'3'", "e": "true"},
        "best_value": 1,
    }
    assert _with_values(best)["best_params"] == {"a": 0.5, "b": [8, 16], "c": 3, "d": "3", "e": True}
    several = {"name": "optuna", "solutions": [{"params": {"m": "mlp", "lr": "1e-3"}, "values": [1.0, 2.0]}]}
    assert _with_values(several)["solutions"] == [{"params": {"m": "mlp", "lr": 0.001}, "values": [1.0, 2.0]}]
