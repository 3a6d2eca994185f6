"""Every sentence that names something to type is provoked by a case, and what it names is typed then."""

import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from PIL import Image

from runner.__main__ import main as file_tool
from runner.wiring.overrides.options import GROUPS, defaults, known_keys
from tests.support import REPOSITORY
from tests.support.advice import is_advice, sentences
from tests.support.command_line import TINY, Outcome, cli, trained_in

T = shlex.join((*TINY, "max_steps=1"))
P = "data=arrays data.path=points.npz model=mlp device=cpu tracker=none max_steps=1"
S = "data=synthetic data.size=16 device=cpu tracker=none max_steps=1"
E = "task=evaluate checkpoint_path=outputs/x/last.tar"
M = f"-m {T} seed=1,2 name=s hydra.launcher.preview=true"
SEARCH = f"-m {T} hydra/sweeper=optuna name=s hydra.launcher.preview=true"
OFF = f"{SEARCH} checkpoint=off".replace("checkpoint.keep_last=100", "")
OLD = "resume=outputs/x/checkpoints/step_0000000003.tar"

# What is said, what provokes it, and what the advice leads to; `inspect` and its like are file tools.
SHOWN = [
    ("add --config-dir=mine experiment=x", "--config-name=x", "--cfg job --config-dir=mine experiment=x"),
    (" for a list", "model=mlp model.hidden=8,8", "--cfg job model=mlp model.hidden=[8,8]"),
    ("ends with a comma; write", "optimizer.lr=1e-3,", "--cfg job optimizer.lr=1e-3"),
    ("has keys of its own; write", "early_stopping=3", "--cfg job early_stopping.patience=3"),
    ("; use resume=outputs/x instead", "--experimental-rerun job.pickle", "--cfg job resume=outputs/x"),
    ("leave -m out to see a config", "-m --cfg job", "--cfg job"),
    ("has a space in it; write", "--cfg job 'epochs =5'", "--cfg job epochs=5"),
    ("write settings as key=value, such as epochs=10; --help lists all", "nonsense", "--help"),
    ("write settings as key=value, such as epochs=10; --help lists all", "nonsense", "--cfg job epochs=10"),
    ("is not an option; write device=", "device=cuda:1", "--cfg job device=cuda device.index=1"),
    ("--cfg hydra shows Hydra's keys", "hydra.foo=1", "--cfg hydra"),
    ("; --help lists all", "foo/bar=3", "--help"),
    ("is chosen already; write", "+optimizer=sgd", "--cfg job optimizer=sgd"),
    ("if it is an argument of", "model=own model._target_=a.B model.c=1",
     "--cfg job model=own model._target_=a.B +model.c=1"),
    ("for another argument of its class, write", "optimizer.amsgrad=true",
     "--cfg job optimizer=own optimizer._target_=torch.optim.AdamW +optimizer.amsgrad=true"),
    ("exists already; write", "+epochs=4", "--cfg job epochs=4"),
    ("is invalid; write a list:", "warm_start.freeze=conv", "--cfg job warm_start.freeze=[conv]"),
    (" is a key of ", "momentum=0.9", "--cfg job optimizer=rmsprop optimizer.momentum=0.9"),
    ("whose jobs train; leave -m out", f"-m {E}", E),
    ("is not below outputs/; use name=", f"{T} hydra.run.dir=/elsewhere", f"--cfg job {T} name=y"),
    ("is invalid; write a list, such as {}=[num_classes]",
     "model=own model._target_=torch.nn.Linear +model.out_features=1 +model.given=num_classes tracker=none",
     "--cfg job model=own model._target_=torch.nn.Linear +model.given=[num_classes]"),
    ("; set it, such as ", "model=own", "--cfg job model=own model._target_=my_package.MyClass"),
    ("it with task=predict", "output=a.csv", "task=predict checkpoint_path=outputs/x/last.tar output=a.csv"),
    ("it with resume=FILE", "rewind=true", f"{OLD} rewind=true max_steps=4"),
    ("it with device.compile=true", "device.compile_mode=max-autotune",
     "--cfg job device.compile=true device.compile_mode=max-autotune"),
    ("needs a file; add checkpoint_path=", "task=evaluate", E),
    ("is no condition; write one such as optimizer.lr=0.01", "list --where finished", "list --where optimizer.lr=0.01"),
    ("is not a folder; make it, or name another file with --html", "list --html=none/p.html", "list --html p.html"),
    ("exists and is not a page of this tool; name another file with --html", "list --html=taken.csv",
     "list --html p.html"),
    ("it holds no {}; python -m runner list shows the runs", "compare outputs/x outputs", "list outputs"),
    ("or compare two checkpoints with python -m runner diff", "compare outputs/x outputs/x/last.tar",
     "diff outputs/x/last.tar outputs/x/last.tar"),
    ("cannot be compared with", "list --where 'optimizer.lr>high'", "list --where 'optimizer.lr>0.9'"),
]  # fmt: skip

TRAINED = [
    ("add -m", "epochs=1,2", "-m epochs=1,2 hydra.launcher.preview=true name=s tracker=none"),
    ("does not work with -m, whose jobs resume from", "-m resume=outputs/x", f"{M} warm_start.path=outputs/x/last.tar"),
    ("a grid takes a list of values; add", M.replace("seed=1,2", "'optimizer.lr=interval(0.1,1)'"),
     f"{SEARCH} 'optimizer.lr=interval(0.1,1)'"),
    ("is invalid; write hydra.sweeper.", f"{SEARCH} seed=1,2 hydra/sweeper/sampler=tpe",
     f"{SEARCH} seed=1,2 hydra.sweeper.sampler=TPESampler"),
    ("is invalid; give its arguments as", f"{SEARCH} seed=1,2 hydra.sweeper.sampler.n_startup_trials=2",
     f"{SEARCH} seed=1,2 'hydra.sweeper.sampler_options={{n_startup_trials: 2}}'"),
    ("use checkpoint.mode=min or max", f"{SEARCH} seed=1,2 hydra.sweeper.direction=maximize",
     f"{SEARCH} seed=1,2 checkpoint.mode=min"),
    ("the study is found by name=", f"{SEARCH} seed=1,2 hydra.sweeper.study_name=s", f"{SEARCH} seed=1,2"),
    ("there is nothing to search; give, for example,", SEARCH, f"{SEARCH} optimizer.lr=interval(1e-4,1e-1)"),
    ("cannot use the launcher", f"{SEARCH} seed=1,2 hydra/launcher=basic".replace("hydra.launcher.preview=true", ""),
     f"{SEARCH} seed=1,2 hydra/launcher=local"),
    ("reads metrics.csv, which this tracker does not write; take", f"{SEARCH} seed=1,2 tracker=none",
     f"{SEARCH} seed=1,2 tracker=none hydra.sweeper.pruner=null"),
    ("stops runs, which checkpoint=off does not allow; take", f"{OFF} seed=1,2",
     f"{OFF} seed=1,2 hydra.sweeper.pruner=null"),
    ("is not the metric that chooses the best checkpoint;",
     f"{SEARCH} seed=1,2 'hydra.sweeper.metrics={{val/accuracy: max}}'",
     f"{SEARCH} seed=1,2 checkpoint.monitor=val/accuracy checkpoint.mode=max"),
    ("is invalid; write for example 'hydra.sweeper.metrics=",
     f"{SEARCH} seed=1,2 'hydra.sweeper.metrics={{val/loss: down}}'",
     f"{SEARCH} seed=1,2 'hydra.sweeper.metrics={{val/loss: min, val/accuracy: max}}' hydra.sweeper.pruner=null"),
    ("are read from best.tar, which checkpoint=off does not write",
     f"{OFF} seed=1,2 hydra.sweeper.pruner=null 'hydra.sweeper.metrics={{val/loss: min, val/accuracy: max}}'",
     f"{OFF} seed=1,2 hydra.sweeper.pruner=null"),
    ("is a class; leave it out, or write", f"{T} tracker.csv=false", f"{T} tracker.csv=null"),
    ("for your own, write +", f"{T} tracker.mine=a", f"--cfg job {T} +tracker.mine._target_=my_package.MyTracker"),
    ("holds a run, not a sweep; use another name=", M.replace("name=s", "name=x"), M),
    ("holds no sweep (no ", "report outputs/x", M),
    ("has no such split; try data.split=", f"{E} data.split=test", f"{E} data.split=val"),
    ("is never overwritten; delete it, or name another with output=",
     "task=predict checkpoint_path=outputs/x/last.tar output=taken.csv",
     "task=predict checkpoint_path=outputs/x/last.tar output=new.csv"),
    ("data=arrays needs a file; set data.path=", "data=arrays model=mlp", f"{P} learner=regression"),
    ("needs a folder; set data.root=", "data=image_folder", f"data=image_folder data.root=images {S.split(' ', 2)[2]}"),
    ("give class numbers, or choose learner=", P, f"{P} learner=regression"),
    ("needs images of at least 16x16 pixels", f"{S} data.shape=[1,8,8]", f"{S} data.shape=[1,8,8] model=mlp"),
    ("needs images, but the data have none (", f"{S} data.shape=[8]", f"{S} data.shape=[8] model=mlp"),
    ("needs to know the end: set epochs or max_steps, or take", f"{T} max_steps=null epochs=null max_time=9",
     f"{T} max_steps=1"),
    ("needs to know the end: set epochs or max_steps, or take", f"{T} max_steps=null epochs=null max_time=9",
     f"--cfg job {T} max_steps=null epochs=null max_time=9 scheduler=none"),
    (" start over by deleting it, or take another name=", f"{T} name=x", f"{T} name=y"),
    ("cannot be made; take another name=", f"{T} name=file/a", f"{T} name=y"),
    ("is not on this machine, which has ", f"{T} device=mps", f"{T} device=cpu"),
    (", or add resume_allow=[", f"{E} learner=own learner._target_=runner.learners.Classification",
     f"{E} learner=own learner._target_=runner.learners.Classification resume_allow=[learner]"),
    ("and cannot become ", "resume=outputs/x batch_size=4", "resume=outputs/x batch_size=4 resume_allow=[batch_size]"),
    ("start a new run with name=another_name warm_start.path=FILE instead of resume",
     "resume=outputs/x model=mlp model._target_=torch.nn.Linear",
     f"{T} model.hidden=[8,5] name=another_name warm_start.path=outputs/x warm_start.min_matched=0.1"),
    ("is not a run but holds some; name one of them, such as resume=", "resume=outputs", "resume=outputs/x"),
    ("raise its length with ", "resume=outputs/x", "resume=outputs/x epochs=3"),
    ("needs a name, by which the next attempt finds the run; add name=", f"{T} resume=auto",
     f"{T} resume=auto name=my_run"),
    ("is not in a run directory; add name=", "resume=alone.tar", "resume=alone.tar name=my_run"),
    ("resume the newest with resume=", OLD, "resume=outputs/x"),
    ("resume the newest with resume=", OLD, f"{OLD} name=another_name"),
    ("resume the newest with resume=", OLD, f"{OLD} rewind=true"),
    ("to start from its weights alone, use warm_start.path=", "resume=weights.pt name=y",
     f"{T} name=y warm_start.path=weights.pt"),
    ("belongs to no run; add name=", "resume=tutorial.tar",
     f"{T} resume=tutorial.tar name=my_run epochs=4 max_steps=null"),
    ("there is no checkpoint at ", "resume=outputs/x/checkpoints/step_0000000009.tar", "resume=outputs/x"),
    ("exists and holds no run; take another name=, or", f"{T} name=empty resume=auto", f"{T} name=y resume=auto"),
    ("already; use a larger number, or start from", "resume=outputs/x epochs=1", f"{OLD} epochs=1 name=another_name"),
    ("already; use a larger number, or start from", "resume=outputs/x epochs=1", f"{OLD} epochs=1 rewind=true"),
    ("and has no config; to start a run with its weights, use",
     "task=evaluate checkpoint_path=weights.pt", f"{T} warm_start.path=weights.pt"),
    ("would keep the worst ", f"{T} checkpoint.monitor=val/accuracy",
     f"{T} checkpoint.monitor=val/accuracy checkpoint.mode=max"),
    ("has no moving average of ", f"{T} warm_start.path=outputs/x warm_start.weights=ema",
     f"{T} warm_start.path=outputs/x warm_start.weights=raw"),
    ("no weight matched (", f"{T} warm_start.path=renamed.pt",
     f"{T} warm_start.path=renamed.pt \"warm_start.rename=['^my_=']\""),
    ("no weight matched (", f"{T} warm_start.path=renamed.pt", "inspect renamed.pt"),
    ("is invalid; write \"warm_start.rename=", f"{T} warm_start.path=renamed.pt warm_start.rename=[my_]",
     f"{T} warm_start.path=renamed.pt \"warm_start.rename=['my_=']\""),
    ("has no part ", f"{T} warm_start.path=several.tar",
     f"{T} warm_start.path=several.tar 'warm_start.parts={{model: one}}'"),
    ("of its names were found, but warm_start.min_matched=", f"{T} warm_start.path=outputs/x model.hidden=[8,5]",
     f"{T} warm_start.path=outputs/x model.hidden=[8,5] warm_start.min_matched=0.1"),
    ("holds weights and no model, so it cannot become a module", "export weights.pt --format module --output a.pt",
     "export weights.pt --output a.pt --format=state_dict"),
    ("exists already; name another file with --output", "export outputs/x --format state_dict --output weights.pt",
     "export outputs/x --format state_dict --output=new.pt"),
    ("is not a folder; make it, or name another file with --output",
     "export outputs/x --format state_dict --output nowhere/new.pt",
     "export outputs/x --format state_dict --output=new.pt"),
    ("warm_start.path={} starts a run with them", "verify weights.pt", f"{T} warm_start.path=weights.pt"),
]  # fmt: skip

# Sentences that a test provokes elsewhere, for they need a file of its own, another machine or a race.
ELSEWHERE = {
    "python -m runner list shows the runs in outputs": "rename: what_cannot_be_renamed_is_refused_and_stays",
    "a copy of the job a name of its own: cp -a": "rename: a_copy_of_a_job_is_a_run_of_its_own",
    "it has no optimizer: evaluate it with": "average: a_mean_starts_a_run_but_is_not_resumed",
    "is a mean of checkpoints and has no optimizer": "average: a_mean_starts_a_run_but_is_not_resumed",
    "nothing of it is pruned; python -m runner verify": "prune: a_run_without_a_valid_checkpoint_is_left_alone",
    "--yes deletes them": "prune: yes_deletes_all_but_what_the_policies_keep",
    "source=[] names no file": "predict_source: what_is_no_picture_is_one_sentence",
    "gives no number of steps": "data_loading: epochs_of_unequal_length_tell_no_length_of_a_run",
    "or a larger spike_factor": "lengths: spikes_beyond_the_limit_end_the_run_in_one_sentence",
    "gives no sample of a stream": "ddp_stream_runs: what_a_stream_cannot_do_is_said_once",
    "with torchrun --nproc-per-node=": "ddp_stream_runs: a_stream_of_other_processes_or_workers_is_refused",
    "it holds the stream's state in": "streams: a_state_of_other_workers_is_refused",
    "which a stream does not tell": "streams: what_a_stream_cannot_do_is_one_sentence",
    "a stream does not tell how many": "streams: what_a_stream_cannot_do_is_one_sentence",
    "which a stream cannot give": "streams: what_a_stream_cannot_do_is_one_sentence",
    "choose one with optimizer.": "agreement: settings_of_a_file_that_are_none_of_the_configs_are_refused_by_name",
    "rewrite it with torch.save(": "checkpoint_foreign: the_old_form_becomes_readable_by_the_words_that_refuse_it",
    "use warm_start.path={}": "checkpoint_foreign: what_another_program_wrote_is_refused_and_not_damaged",
    "became NaN or infinite by step": "checkpoint_saving: what_is_not_finite_is_never_written",
    "go on from the last good checkpoint, or start again": "checkpoint_saving: what_is_not_finite_is_never_written",
    "rerun it with hydra.launcher.rerun=all": (
        "local_sweep: a_failure_is_tried_again_stops_the_others_if_asked_and_what_is_to_begin_anew_is_set_aside"
    ),
    "or data.download=true": "data_sets: missing_files_are_named_with_the_folder_and_the_ways_out",
    "set data.root=FOLDER to another": "data_sets: a_download_without_a_place_to_keep_it_is_one_sentence",
    "the data cannot be sent to a worker": "trial: data_that_cannot_be_sent_to_a_worker_are_one_sentence",
    "a data worker died": "stopping: a_worker_that_dies_or_hangs_is_one_sentence_and_the_last_complete_step_is_saved",
    "data workers have delivered nothing": (
        "stopping: a_worker_that_dies_or_hangs_is_one_sentence_and_the_last_complete_step_is_saved"
    ),
    "was taken by another process": "ownership: of_ten_starts_at_once_exactly_one_trains_and_of_ten_resumes_as_well",
    "is in use by": "ownership: beside_a_living_owner_every_start_is_refused_untouched_and_every_reader_reads",
    "is still held by processes": "ownership: what_a_dead_owner_left_behind_is_waited_for_and_then_named",
    "a run needs it": "ownership: what_a_stranger_put_in_the_lock_files_place_is_refused_and_not_written_to",
    "start it without torchrun": "strategy: several_processes_are_refused_for_what_one_does",
    "needs several processes; start them": "ddp_refusals: one_process_is_no_ddp_and_several_are_no_single",
    "has no gradient after a backward pass": (
        "ddp_refusals: a_parameter_that_gets_no_gradient_is_one_sentence_and_find_unused_takes_it"
    ),
    "needs submitit": "slurm: without_slurm_or_submitit_the_sentence_says_what_is_absent_and_nothing_is_made",
    "needs Slurm's": "slurm: without_slurm_or_submitit_the_sentence_says_what_is_absent_and_nothing_is_made",
    "; use another name=": "local_sweep: runs_that_are_judged_differently_cannot_come_into_one_table",
    "choose them with device=cuda": "strategy: a_resume_keeps_to_the_kind_and_number_of_devices_unless_it_is_told",
    "these settings change the optimizer's groups": "carrying: what_cannot_take_effect_is_refused_in_a_sentence",
    "belongs to other data": "identity: renamed_or_added_classes_are_refused_with_both_lists",
    "an interpolation, which a file may not use": (
        "inherited: an_environment_variable_is_left_out_of_the_file_and_asked_for_again"
    ),
    "raise early_stopping.patience": "sentences: a_run_that_stopped_early_names_the_key_that_goes_on",
    "lacks; add it, or use max_steps=": "lengths: what_nobody_counts_is_no_length",
    "has not counted its {} from its start": "lengths: what_nobody_counts_is_no_length",
    "cannot be reached: the run has not": "lengths: what_nobody_counts_is_no_length",
    "which a stream cannot give; use accumulate": "feeding: a_stream_and_several_processes_are_refused",
    "and take the mode min or max": "api: mistakes_of_a_loop_are_one_sentence",
    "is not an override; write one": "api: a_mistake_is_an_exception_of_one_sentence_and_creates_nothing",
    "start a sweep by the command line": "api: a_mistake_is_an_exception_of_one_sentence_and_creates_nothing",
    "was saved by a loop of its own": "api: a_loops_file_starts_no_run_but_a_warm_one",
    "divides nothing, so each checkpoint is one file": (
        "fsdp: without_a_divided_model_a_checkpoint_is_one_file_and_that_is_said"
    ),
    "give a larger --shard-size": "convert: more_shards_than_can_be_read_are_not_written",
    "exists already; name another with --output": "convert: what_is_there_is_never_overwritten",
    "or name another place with --output": "convert: a_place_that_is_not_there_is_told",
    "from here on, in micro-batches of": (
        "feeding: a_run_goes_on_as_one_whose_micro_batches_were_made_smaller_at_that_step"
    ),
    "is for one process, which": "feeding: a_stream_and_several_processes_are_refused",
    "is a part of an epoch, whose length a stream does not tell": (
        "lengths: a_stream_is_as_long_as_its_samples_are_counted_and_has_no_parts_of_epochs"
    ),
    "lift what stopped it with early_stopping.threshold=null": (
        "lengths: a_run_that_reached_its_threshold_says_how_to_go_on"
    ),
    "one sample is left alone": "trial: a_sample_that_is_left_alone_is_noticed_where_it_would_be_reached",
    "with {}=...": ("explaining: a_key_that_a_file_leaves_open_is_missing_until_an_override_or_a_later_file_sets_it"),
    "and the rest of this command": (
        "ways_on: a_name_whose_run_has_no_checkpoint_yet_is_answered_with_what_begins_it_again"
    ),
    "is finished and holds no checkpoint": "starts: a_finished_run_without_a_checkpoint_is_not_begun_again",
    "not a class in {}, in a module": "foreign_configs: a_package_that_shadows_the_projects_own_is_not_taken_for_it",
    "if it is yours, add trust=": "targets: the_word_that_a_resume_needs_is_one_that_helps",
}

# Sentences that no test types, each with the reason.
UNTRIED = {
    "whose entries have several forms; use output=": "needs a prediction that is ragged",
    "needs the package safetensors": "every test has the package",
    "needs Ray": "every test has the package",
    "needs Optuna": "every test has the package",
    ": python -m pip install {": "every test has the package",
    "no plots: ": "every test has the package",
    "kernels may add up in any order": "needs a GPU",
    "DataParallel over %s": "needs several GPUs",
    "name another --output": "a disk that refuses",
    "name another file with output=": "a disk that refuses",
    "by an unknown process": "lasts for an instant",
    "give options of sbatch by their long names": "needs Slurm",
    "is the study of": "a study of another goal",
    "would take far more memory or time": "the file is hostile",
    "so there is nothing to resume": "every checkpoint is damaged",
    "a search has one goal": "needs two goals in one search",
    "which is built only if its exact name": "a function out of a file",
    "has no __init__.py; add it": "the file is hostile",
    "the command that started it": "the run has no record",
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run `outputs/x` of two epochs, and with files that are wrong in some way."""
    folder = trained_in(tmp_path_factory.mktemp("advice"), *TINY, "epochs=2", "name=x")
    entries = torch.load(folder / "outputs/x/last.tar", weights_only=True)
    weights = entries["model_state_dict"]
    torch.save(weights, folder / "weights.pt")
    torch.save({f"my_{name}": value for name, value in weights.items()}, folder / "renamed.pt")
    tutorial = {key: entries[key] for key in ("epoch", "model_state_dict", "optimizer_state_dict", "loss")}
    torch.save({"one_state_dict": weights, "other_state_dict": weights}, folder / "several.tar")
    torch.save(tutorial, folder / "tutorial.tar")
    shutil.copy(folder / "outputs/x/last.tar", folder / "alone.tar")
    numpy.savez(folder / "points.npz", train_inputs=numpy.ones((9, 3), "f4"), train_targets=numpy.ones(9, "f4"))
    for name in ("a", "b"):
        (folder / "images/train" / name).mkdir(parents=True)
        Image.new("RGB", (40, 30), "red").save(folder / "images/train" / name / "1.png")
    (folder / "outputs/empty").mkdir()
    (folder / "mine/experiment").mkdir(parents=True)
    (folder / "mine/experiment/x.yaml").write_text("# @package _global_\nepochs: 3\n")
    for name in ("taken.csv", "outputs/file", "outputs/empty/notes"):
        (folder / name).write_text("mine")
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder, in which everything is typed."""
    shutil.copytree(trained, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def typed(capsys: Any, command: str) -> Outcome:
    """Return the answer to words for `run.py`, or for a file tool."""
    words = shlex.split(command)
    if not words[0].isidentifier() or "=" in words[0] or words[0] == "nonsense":
        return cli(capsys, *words)
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["runner", *words])
        code = file_tool()
    return Outcome(code, *capsys.readouterr())


def check(capsys: Any, said: str, wrong: str, right: str) -> None:
    """Assert that the wrong command is answered so, that the answer names what is new in the right one, which works."""
    answer = typed(capsys, wrong)
    text = " ".join((answer.out + answer.err).split())
    assert re.search(re.escape(said).replace(re.escape("{}"), ".*"), text), text
    new = [word.lstrip("+").split("=")[0].strip("-") for word in shlex.split(right) if word not in shlex.split(wrong)]
    assert not new or any(word in text for word in new), (new, text)
    outcome = typed(capsys, right)
    assert outcome.code == 0, outcome.err + outcome.out


@pytest.mark.parametrize(("said", "wrong", "right"), SHOWN)
def test_what_an_answer_names_is_taken(folder: Path, capsys: Any, said: str, wrong: str, right: str) -> None:
    check(capsys, said, wrong, right)


@pytest.mark.slow
@pytest.mark.parametrize(("said", "wrong", "right"), TRAINED)
def test_what_an_answer_names_runs(folder: Path, capsys: Any, said: str, wrong: str, right: str) -> None:
    check(capsys, said, wrong, right)


def test_every_sentence_with_advice_has_a_case() -> None:
    provoked = [said for said, *_ in (*SHOWN, *TRAINED)] + [*ELSEWHERE, *UNTRIED]
    without = {place: text for place, text in sentences().items() if not any(one in text for one in provoked)}
    assert not without, "\n".join(f"{place} {text}" for place, text in without.items())


def test_a_case_that_is_elsewhere_is_there() -> None:
    for where in ELSEWHERE.values():
        module, _, name = where.partition(": ")
        assert f"def test_{name}(" in (REPOSITORY / f"tests/test_{module}.py").read_text(), where


def test_no_sentence_names_a_key_that_there_is_not() -> None:
    known = {"key", "pattern", "weights_only", *defaults(), *known_keys(), *GROUPS, "early_stopping", "warm_start"}
    for place, text in sentences().items():
        for key in re.findall(r"(?<![\w.{}/-])\+?([a-z_][\w.]*)=(?!=)", text):
            assert key in known or key.startswith("hydra."), f"{place}: {key}"


def test_what_is_to_be_typed_survives_a_shell() -> None:
    for place, text in sentences().items():
        assert not re.search(r"(?<![\w.'\"])\+?[\w.]+=(?:\[?['({]\w|\w+\(|\{\{)", text), f"{place}: {text}"


@pytest.mark.parametrize(
    ("sentence", "is_one"),
    [("x=1 is wrong; write y=2", True), ("x=1 is invalid; use 2", False), ("X cannot have y=1; give 2", False)],
)
def test_what_is_wrong_is_no_advice(sentence: str, is_one: bool) -> None:
    assert is_advice(sentence) is is_one
