"""The launcher `local`: a process a job, failures that stay their job's own, a repetition that does what is left."""

import json
import os
import random
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.errors import ConfigError
from runner.run_directory.ownership import Ownership
from runner.sweeps.results.table import Record, check_goal, write_record
from tests.support import REPOSITORY
from tests.support.command_line import Outcome, cli
from tests.support.comparing import assert_same_run, rows_in
from tests.support.fork_server import ForkServer
from tests.support.processes import finish, run, start, until

WORDS = (
    "-m", "hydra.launcher.n_jobs=2", "model=own", "data=own",
    "data._target_=tests.own.points.NoisyPoints",
    "model._target_=tests.own.jobs.Fragile", "batch_size=8", "tracker=csv", "device=cpu", "epochs=3", "name=s",
)  # fmt: skip
IN_WORK = 4  # the batch that is tried first, the step that is cut, and what waits to be saved and is being saved
BAD = {
    "raises": "ValueError: as asked for", "exits": "SystemExit: 3", "killed": "killed by SIGKILL",
    "leaves": "it exited with code 0 before the run finished",
    "pretends": "code 75 although nothing stopped it",
}  # fmt: skip
Sweep = Callable[..., Outcome]
CASES = f"+model.case=good,{','.join(BAD)}"


@pytest.fixture
def sweep(work: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Sweep:
    """A function that runs a sweep to its end in this process, its jobs in processes of their own."""

    def call(*words: str, **environment: str) -> Outcome:
        with monkeypatch.context() as patch:
            for name, value in {"PYTHONPATH": str(REPOSITORY), **environment}.items():
                patch.setenv(name, value)
            return cli(capsys, *WORDS, *words)

    return call


def results(work: Path) -> list[dict[str, str]]:
    return rows_in(work / "outputs/s/results.csv")


@pytest.mark.slow
def test_a_bad_job_harms_no_other_and_the_same_command_runs_what_is_left(tmp_path: Path, sweep: Sweep) -> None:
    first = run(tmp_path, *WORDS, CASES, "hydra.launcher.job_timeout=60")
    assert first.returncode == 1, first.stdout + first.stderr
    failures = [line for line in first.stdout.splitlines() if line.startswith("FAILED ")]
    assert len(failures) == len(BAD)
    for case, reason in BAD.items():
        assert any(f"case-{case}-" in line and reason in line for line in failures), failures
    assert {row["model.case"]: row["state"] for row in results(tmp_path)} == {
        "good": "finished", **dict.fromkeys(BAD, "failed"),
    }  # fmt: skip
    assert all(Path(tmp_path, line.rpartition("its log: ")[2]).is_file() for line in failures)
    again = sweep(CASES, MENDED="1")
    assert again.code == 0, again.out + again.err
    assert again.out.count("finished already") == 1 and "FAILED" not in again.out
    rows = results(tmp_path)
    assert len(rows) == 1 + len(BAD) and {row["state"] for row in rows} == {"finished"}
    metrics = [float(row["val/loss"]) for row in rows]
    assert metrics == sorted(metrics)
    assert (tmp_path / "outputs/s/best").resolve() == tmp_path / "outputs/s" / rows[0]["job"]
    good = next(row["job"] for row in rows if row["model.case"] == "good")
    assert run(tmp_path, "name=alone", "+model.case=good", *WORDS[2:-1]).returncode == 0
    assert_same_run(tmp_path / "outputs/alone", tmp_path / "outputs/s" / good)


@pytest.mark.slow
def test_jobs_at_a_time_have_a_gpu_each_unless_the_user_names_one(tmp_path: Path, sweep: Sweep) -> None:
    words = ("+model.case=good", "max_steps=1", "hydra.launcher.n_jobs=null", "seed=0,1")
    for name, more, seen in (("each", (), {"3", "5"}), ("own", ("+device.index=null",), {"3,5"})):
        done = sweep(*words, f"name={name}", *more, CUDA_VISIBLE_DEVICES="3,5")
        assert done.code == 0, done.out + done.err
        logs = [path.read_text() for path in (tmp_path / "outputs" / name / "logs").glob("*.log")]
        assert {re.findall(r"sees GPU (\S+)", log)[0] for log in logs} == seen


@pytest.mark.slow
def test_a_job_that_was_stopped_from_outside_ends_its_sweep_with_75_unless_another_one_failed(
    tmp_path: Path, sweep: Sweep
) -> None:
    stopped = sweep("+model.case=told,good", "hydra.sweeper.max_batch_size=1")
    assert stopped.code == 75 and stopped.out.count("go on with:") == 1, stopped.out + stopped.err
    assert {row["model.case"]: row["state"] for row in results(tmp_path)} == {"good": "finished", "told": "interrupted"}
    failed = sweep("+model.case=told,raises")
    assert failed.code == 1 and "go on with:" in failed.out, failed.out + failed.err


@pytest.mark.slow
def test_jobs_that_are_judged_by_different_metrics_are_refused_before_any_of_them_runs(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (
        ["checkpoint.monitor=val/loss,val/accuracy"],
        ["checkpoint.mode=min,max"],
        ["hydra/sweeper=optuna", "hydra.sweeper.pruner=null", "checkpoint.mode=min,max"],
    ):
        refused = cli(capsys, "-m", "name=s", *words)
        assert refused.code == 2 and "set both" in refused.err, refused.out + refused.err
        assert refused.err.count("\n") == 1 and not list(work.iterdir())


@pytest.mark.slow
def test_a_sweep_that_is_stopped_leaves_checkpoints_and_is_finished_by_the_same_command(
    tmp_path: Path, sweep: Sweep
) -> None:
    words = ("+model.case=slow", "seed=0,1,2", "max_steps=40", "hydra.launcher.n_jobs=1")
    process = start(tmp_path, *WORDS, *words)
    until(lambda: list((tmp_path / "outputs").glob("s/*/last.tar")), process)
    process.send_signal(signal.SIGTERM)
    code, said = finish(process)
    assert code == 75
    assert said.splitlines()[-2] == "stopped by SIGTERM; go on with:" and said.splitlines()[-1].endswith(
        " ".join(words)
    )
    states = [json.loads(path.read_text())["state"] for path in (tmp_path / "outputs/s").glob("*/status.json")]
    assert states and set(states) == {"interrupted"}
    done = sweep(*words[:3], "hydra.launcher.n_jobs=2", MENDED="1")
    assert done.code == 0, done.out + done.err
    runs = {path.resolve() for path in (tmp_path / "outputs/s").glob("*/status.json")}
    assert len(runs) == 3 and all(json.loads(path.read_text())["state"] == "finished" for path in runs)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("hydra.launcher.on_failure=perhaps", "hydra.launcher.on_failure=perhaps is invalid; choose continue, stop"),
        ("hydra.launcher.preview=perhaps", "hydra.launcher.preview=perhaps is invalid; use true or false"),
        ("hydra.sweeper.max_batch_size=0", "hydra.sweeper.max_batch_size=0 is invalid"),
        ("hydra.sweeper.params=[seed]", "hydra.sweeper.params=['seed'] is invalid; use a mapping"),
        ("+hydra.launcher.njobs=2", "there is no hydra.launcher.njobs"),
        ("name='a b'", "name='a b' is invalid"),
    ],
)
def test_a_wrong_option_is_one_sentence_and_makes_nothing(tmp_path: Path, sweep: Sweep, word: str, said: str) -> None:
    wrong = sweep("+model.case=good", word)
    assert wrong.code == 2 and wrong.err.startswith(f"error: {said}"), wrong.err
    assert wrong.err.count("\n") == 1 and not list(tmp_path.iterdir())


def test_a_preview_runs_nothing(tmp_path: Path, sweep: Sweep) -> None:
    preview = sweep(CASES, "hydra.launcher.preview=true")
    assert preview.code == 0 and "6 of 6 jobs would run" in preview.out
    assert not list((tmp_path / "outputs/s").glob("*/status.json"))


def test_a_swept_key_that_is_given_again_is_said_at_the_start(sweep: Sweep) -> None:
    preview = sweep("+model.case=good", "seed=0,1", "seed=2", "hydra.launcher.preview=true")
    assert "seed is given twice: seed=2 counts, seed=0,1 does not\n" in preview.out and "1 of 1 jobs" in preview.out


@pytest.mark.slow
def test_a_pattern_for_directories_cannot_make_one_job_of_two_nor_scatter_them(tmp_path: Path, sweep: Sweep) -> None:
    words = ("+model.case=good", "seed=0,1", "hydra.launcher.preview=true")
    shown = sweep(*words, "hydra.sweep.subdir=x/${model.case}")
    names = [line.partition(":")[0] for line in shown.out.splitlines() if ": to be run: " in line]
    assert len(set(names)) == 2 and all(re.fullmatch("x_good-[0-9a-f]{8}", name) for name in names), shown.err
    scattered = sweep(*words, "hydra.sweep.dir=outputs/${seed}")
    assert scattered.code == 2 and scattered.err.startswith("error: hydra.sweep.dir is outputs/0 for")


def test_runs_that_are_judged_differently_cannot_come_into_one_table(tmp_path: Path) -> None:
    write_record(tmp_path, Record("val/loss", "min", {"a": ["seed=0"]}))
    check_goal(tmp_path, "val/loss", "min")
    with pytest.raises(ConfigError, match="not for the max of val/accuracy; use another name="):
        check_goal(tmp_path, "val/accuracy", "max")
    (tmp_path / "sweep.json").write_text('{"jobs": 3')
    with pytest.raises(ConfigError, match=r"sweep\.json cannot be read .it is not JSON.*; move it away"):
        check_goal(tmp_path, "val/loss", "min")


@pytest.mark.slow
def test_a_sweep_in_the_directory_of_a_run_is_refused_and_changes_nothing(tmp_path: Path, sweep: Sweep) -> None:
    assert sweep("+model.case=good", "max_steps=1").code == 0
    run = next((tmp_path / "outputs/s").glob("*/status.json")).parent.relative_to(tmp_path / "outputs")
    before = sorted(tmp_path.rglob("*"))
    refused = sweep("+model.case=good", "seed=0,1", f"name={run}")
    assert refused.code == 2 and "holds a run, not a sweep" in refused.err
    assert refused.out == f"name is given twice: name={run} counts, name=s does not\n"
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_after_its_last_attempt_a_failure_ends_the_sweep_with_all_batches_if_that_is_wanted(
    tmp_path: Path, sweep: Sweep
) -> None:
    limits = ("hydra.launcher.on_failure=stop", "hydra.launcher.retries=1", "hydra.sweeper.max_batch_size=1")
    failed = sweep("+model.case=raises", "seed=0,1", *limits)
    assert failed.code == 1 and failed.out.count(": started") == 2, failed.out + failed.err
    assert failed.out.count("; retrying") == 1 and failed.out.count("(1 of 1)") == 1


def test_odd_values_are_jobs_of_safe_names_and_one_value_twice_is_one_job(tmp_path: Path, sweep: Sweep) -> None:
    odd = "+model.case='a/b','x y','p=q','Ünï','" + "n" * 300 + "',good,good"
    shown = sweep(odd, "hydra.launcher.preview=true")
    assert shown.code == 0 and "6 of 6 jobs would run" in shown.out, shown.out + shown.err
    names = [line.partition(":")[0] for line in shown.out.splitlines() if ": to be run: " in line]
    assert len(set(names)) == 6 and all(re.fullmatch(r"_?model.case-[\w.-]{1,120}", name, re.ASCII) for name in names)


@pytest.mark.slow
def test_a_job_is_found_again_whatever_is_swept_and_a_second_sweep_at_a_time_is_refused(
    tmp_path: Path, sweep: Sweep
) -> None:
    words = ("+model.case=good", "max_steps=1")
    assert sweep(*words, "seed=0,1").code == 0
    again = sweep(*words, "seed=0", "optimizer.lr=0.001,0.002", "hydra.launcher.preview=true")
    assert "1 of 2 jobs would run" in again.out and again.out.count("finished already") == 1, again.out
    assert len(list((tmp_path / "outputs/s").glob("seed-*-????????"))) == 2
    fewer = sweep(*words, "seed=1")
    assert fewer.code == 0 and fewer.out.count("finished already") == 1, fewer.out
    assert {row["seed"] for row in results(tmp_path)} == {"0", "1"}  # nothing is lost with a value
    with Ownership() as ownership:
        ownership.take(tmp_path / "outputs/s")
        ownership.sign()
        second = run(tmp_path, *WORDS, *words, "seed=0,1,2")
    assert second.returncode == 2 and "is in use by process" in second.stderr and "Traceback" not in second.stderr


@pytest.mark.slow
def test_a_failure_is_tried_again_stops_the_others_if_asked_and_what_is_to_begin_anew_is_set_aside(
    tmp_path: Path,
    sweep: Sweep,
) -> None:
    words, run = ("+model.case=raises,good", "hydra.launcher.n_jobs=1"), tmp_path / "outputs/s"
    first = sweep(*words, "hydra.launcher.on_failure=stop", "hydra.launcher.retries=1")
    assert first.code == 1 and ": started, attempt 2" in first.out and "not started" in first.out
    second = sweep(*words, "hydra.launcher.rerun=failed", MENDED="1")
    assert second.code == 0 and second.out.count(": done after") == 2, second.out
    assert [path.name[:17] for path in (run / "superseded").iterdir()] == ["model.case-raises"]
    environment = next(run.glob("model.case-good-*")) / "environment.json"
    environment.write_text(json.dumps(json.loads(environment.read_text()) | {"git_commit": "another"}))
    shown = sweep(*words, "hydra.launcher.preview=true")
    assert shown.out.count("finished already") == 2 and shown.out.count("made by other code") == 1
    third = sweep(*words, "hydra.launcher.rerun=all", MENDED="1")
    assert third.code == 0 and "finished already" not in third.out and third.out.count(": done after") == 2
    assert len(list((run / "superseded").iterdir())) == 3


@pytest.mark.slow
def test_of_twelve_jobs_four_bad_ones_are_listed_and_run_again_when_the_cause_is_gone(
    tmp_path: Path, sweep: Sweep
) -> None:
    words = ("+model.case=good,raises,exits,killed,hangs", "seed=0,1,2,3,4,5,6,7", "hydra.launcher.job_timeout=8")
    bad = [f"+model.case={case}" for case in ("raises", "exits", "killed", "hangs")]
    first = sweep("+model.case=good", words[1])
    assert first.code == 0, first.out + first.err
    mixed = sweep(words[0], "seed=0", words[2])
    assert mixed.code == 1 and mixed.out.count("finished already") == 1
    failures = [line for line in mixed.out.splitlines() if line.startswith("FAILED ")]
    assert len(failures) == len(bad) and "it took longer than 8 s" in mixed.out, mixed.out
    again = sweep(words[0], "seed=0", words[2], MENDED="1")
    assert again.code == 0 and again.out.count("finished already") == 1, again.out
    assert len(list((tmp_path / "outputs/s").glob("*/status.json"))) - 1 == 8 + len(bad)  # and `best`


@pytest.mark.slow
def test_a_sweep_killed_twenty_times_ends_in_the_same_bits_and_leaves_nobody_writing(
    tmp_path: Path, process: ForkServer, sweep: Sweep
) -> None:
    chance = random.Random(0)
    words = ("+model.case=slow", "seed=0,1,2,3", "checkpoint=every_n_steps", "checkpoint.every_steps=1", "epochs=30")
    run = tmp_path / "outputs/s"
    former: dict[str, tuple[int, int]] = {}
    for kill in range(20):
        started = process.start(tmp_path, *WORDS, *words, TRACE=str(tmp_path))
        before = newest(run)
        while newest(run) == before and not started.ended():
            time.sleep(0.02)
        time.sleep(chance.random())
        os.kill(started.pid, signal.SIGKILL if kill % 2 else signal.SIGTERM)
        assert started.finish()[0] == (-signal.SIGKILL if kill % 2 else 75)
        time.sleep(0.5)
        left = newest(run)
        time.sleep(1)
        assert newest(run) == left  # nobody goes on writing
        now = {trace.stem: (trace.stat().st_size, newest_step(run, trace.stem)) for trace in tmp_path.glob("*.steps")}
        for job, (trained, saved) in now.items():  # each attempt began where the newest checkpoint was
            before_it, from_step = former.get(job, (0, 0))
            lost = from_step + trained - before_it - saved
            assert 0 <= lost <= IN_WORK, f"{job} trained {lost} steps beyond step {saved}"
        former = now
    done = sweep(*words, MENDED="1")
    assert done.code == 0, done.out + done.err
    whole = sweep(*words, "name=whole", MENDED="1")
    assert whole.code == 0, whole.out + whole.err
    jobs = [path for path in run.glob("seed-*") if path.is_dir()]
    assert len(jobs) == 4
    for job in jobs:
        assert_same_run(tmp_path / "outputs/whole" / job.name, job)


def newest_step(run: Path, job: str) -> int:
    """Return the step of the newest checkpoint of a job, 0 if it has none."""
    names = sorted(path.name for path in run.glob(f"{job}/checkpoints/step_*.tar"))
    return int(names[-1][5:15]) if names else 0


def newest(run: Path) -> list[str]:
    """Return the names of all checkpoints."""
    return sorted(str(path) for path in run.glob("seed-*/checkpoints/step_*.tar"))
