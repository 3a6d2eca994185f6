"""What a sweep's files say of its jobs: their order, the best of them, means over seeds, and `results.csv`."""

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest

from runner.commands.tools.report import report
from runner.errors import ConfigError, DiskRefuses
from runner.run_directory.status import Status, read_status, write_status
from runner.sweeps.jobs import Job
from runner.sweeps.results.means import Mean, over_seeds
from runner.sweeps.results.table import PRUNED, Record, read_record, rows_of, write_record, write_results
from runner.sweeps.schedule import Ended
from tests.support.comparing import rows_in

NOW = "2026-01-01T00:00:00+00:00"


def job(sweep: Path, name: str, metric: float | None, state: str = "finished", config: str = "") -> None:
    """Leave what a run leaves of how it stands."""
    (sweep / name).mkdir()
    write_status(sweep / name, Status(state, 5, 1, 1, None, metric, 1, "elsewhere", NOW, NOW, test={"loss": 0.5}))
    (sweep / name / "config.yaml").write_text(config)


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Six jobs, each of another ending."""
    job(tmp_path, "a", 0.3)
    job(tmp_path, "b", 0.2)
    job(tmp_path, "c", 0.1, "failed")
    job(tmp_path, "d", 0.15, "interrupted")
    job(tmp_path, "e", None)
    words = {name: [f"seed={place}", "model=mlp"] for place, name in enumerate("abcdefg")}
    job(tmp_path, "g", 0.05, "interrupted")
    write_record(tmp_path, Record("val/loss", "min", words, pruned=["g"]))
    return tmp_path


def test_what_finished_stands_first_then_what_came_to_no_end_then_what_has_no_metric(sweep: Path) -> None:
    rows = rows_of(sweep, read_record(sweep))
    assert [row.name for row in rows] == ["b", "a", "g", "c", "d", "e", "f"]
    assert [row.state for row in rows][2:] == [PRUNED, "failed", "interrupted", "finished", "not started"]
    assert [row.is_result for row in rows] == [True, True, *[False] * 5]
    assert rows[0].values == {"seed": "1"}  # what all have in common is no column


def test_a_mean_is_of_the_finished_seeds_only_and_one_alone_has_no_deviation(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = rows_of(sweep, read_record(sweep))
    assert list(over_seeds(rows)) == [Mean({}, 2, 7, 0.25, pytest.approx(0.1 / 2**0.5))]
    (sweep / "a/status.json").unlink()
    assert list(over_seeds(rows_of(sweep, read_record(sweep)))) == [Mean({}, 1, 7, 0.2, None)]
    report(sweep, ())
    assert "all         1 of 7  0.2\n" in capsys.readouterr().out


def test_a_value_of_another_metric_than_the_sweeps_is_no_result(sweep: Path) -> None:
    status = read_status(sweep / "b")
    assert status is not None
    for monitor, best in (("val/accuracy", "a"), ("val/loss", "b")):
        write_status(sweep / "b", replace(status, monitor=monitor))
        assert rows_of(sweep, read_record(sweep))[0].name == best


def test_a_sweep_of_which_nothing_finished_has_no_best_run(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report(sweep, ())
    assert (sweep / "best").readlink() == Path("b") and "\nbest: " in capsys.readouterr().out
    for name in "abe":
        (sweep / name / "status.json").unlink()
    report(sweep, ())
    said = capsys.readouterr().out
    assert not (sweep / "best").is_symlink() and "\nbest: " not in said and "over seeds" not in said, said
    assert said.splitlines()[2].split() == ["-", "6", "0.05", "0.5", "5", "pruned", "g"]


def test_jobs_of_another_config_are_another_mean_and_the_key_that_differs_is_a_column(tmp_path: Path) -> None:
    words, kinds = {}, {}
    for number, rate in enumerate((0.1, 0.1, 0.2, 0.2)):
        config = f"optimizer: {{lr: {rate}}}\nseed: {number % 2}\nname: s/{number}\nlog_every: {number}\n"
        job(tmp_path, f"job{number}", number + rate, config=config)
        words[f"job{number}"] = [f"seed={number % 2}"]
        kinds[f"job{number}"] = f"of {rate}"
    write_record(tmp_path, Record("val/loss", "min", words, kinds=kinds))
    report(tmp_path, ())
    rows = [(r["seed"], r["optimizer.lr"], float(r["val/loss"])) for r in rows_in(tmp_path / "results.csv")]
    assert rows == [("0", "0.1", 0.1), ("1", "0.1", 1.1), ("0", "0.2", 2.2), ("1", "0.2", 3.2)]
    assert [mean.mean for mean in over_seeds(rows_of(tmp_path, read_record(tmp_path)))] == [
        pytest.approx(0.6), pytest.approx(2.7),
    ]  # fmt: skip


def test_results_and_best_are_written_and_a_folder_of_the_users_own_is_left_alone(sweep: Path) -> None:
    rows = rows_of(sweep, read_record(sweep))
    write_results(sweep, rows, "val/loss")
    table = rows_in(sweep / "results.csv")
    assert [row["val/loss"] for row in table] == ["0.2", "0.3", "0.05", "0.1", "0.15", "", ""]
    assert (sweep / "best").readlink() == Path("b")
    (sweep / "best").unlink()
    (sweep / "best").mkdir()
    write_results(sweep, rows, "val/loss")
    assert (sweep / "best").is_dir() and not (sweep / "best").is_symlink()


def test_the_larger_is_the_better_where_that_is_wanted(tmp_path: Path) -> None:
    for name, metric in (("a", 0.3), ("b", 0.2)):
        job(tmp_path, name, metric)
    write_record(tmp_path, Record("val/accuracy", "max", {"b": ["seed=1"], "a": ["seed=0"]}))
    assert [row.name for row in rows_of(tmp_path, read_record(tmp_path))] == ["a", "b"]


def test_means_are_taken_over_the_seeds_of_equal_other_values(tmp_path: Path) -> None:
    words = {}
    for number, (rate, metric) in enumerate([("0.1", 1.0), ("0.1", 2.0), ("0.2", 5.0)]):
        job(tmp_path, f"job{number}", metric)
        words[f"job{number}"] = [f"optimizer.lr={rate}", f"seed={number}"]
    write_record(tmp_path, Record("val/loss", "min", words))
    groups = list(over_seeds(rows_of(tmp_path, read_record(tmp_path))))
    assert groups == [
        Mean({"optimizer.lr": "0.1"}, 2, 2, 1.5, 0.5**0.5),
        Mean({"optimizer.lr": "0.2"}, 1, 1, 5.0, None),
    ]


def test_a_value_that_only_another_command_swept_is_the_one_of_the_config(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job(tmp_path, "a", 0.3, config="optimizer: {lr: 0.01}\nbatch_size: ${nothing}\n")
    job(tmp_path, "b", 0.2)
    write_record(tmp_path, Record("val/loss", "min", {"a": ["seed=1"]}))
    write_record(tmp_path, Record("val/loss", "min", {"b": ["seed=1", "optimizer.lr=0.5", "batch_size=2"]}))
    report(tmp_path, ())
    rows = {row["job"]: (row["optimizer.lr"], row["batch_size"]) for row in rows_in(tmp_path / "results.csv")}
    assert rows == {"b": ("0.5", "2"), "a": ("0.01", "")}
    assert capsys.readouterr().out.lstrip().startswith("optimizer.lr  batch_size  best val/loss")


def test_results_that_cannot_be_written_are_said_all_the_same(
    sweep: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(sweep / "results.csv"))

    monkeypatch.setattr("runner.commands.tools.report.write_results", full)
    with pytest.raises(DiskRefuses, match=r"results\.csv could not be written: No space left on device"):
        report(sweep, [Ended(Job(sweep / "f", []), 1, "killed by SIGKILL", 1.0)])
    said = capsys.readouterr().out
    assert "FAILED f: killed by SIGKILL; its log: " in said and "over seeds" in said and "best: " in said
    assert said.splitlines()[8].split()[-2:] == ["failed", "f"]


def test_a_folder_without_a_record_is_no_sweep(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no sweep"):
        read_record(tmp_path)
