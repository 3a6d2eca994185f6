"""The pictures of a sweep show every job, whatever its values are."""

from pathlib import Path

import pytest

from runner.sweeps.results.plots import write_plots
from runner.sweeps.results.table import Row

matplotlib = pytest.importorskip("matplotlib", reason="the extra `plots` is not installed")


def made(sweep: Path, *, count: int, values: list[dict[str, str]]) -> list[str]:
    """Draw jobs with these values, each with a curve, and return the names of the pictures."""
    rows = []
    for number in range(count):
        (sweep / f"job{number}").mkdir()
        text = f"step,epoch,val/loss\n1,0,{number + 1}.0\n2,0,{number}.5\n"
        (sweep / f"job{number}/metrics.csv").write_text(text)
        rows.append(Row(f"job{number}", values[number % len(values)], "finished", 2, number + 0.5, {}))
    rows.append(Row("never", {"model": "lenet"}, "not started", 0, None, {}))
    return sorted(path.name for path in write_plots(sweep, rows, "val/loss"))


def test_there_is_a_picture_of_each_swept_key_and_one_of_the_curves(tmp_path: Path) -> None:
    values = [{"model": "mlp", "optimizer.lr": "1e-3"}, {"model": "$x_{" * 9 + "Ünï 'q'", "optimizer.lr": "0.1"}]
    assert made(tmp_path, count=30, values=values) == ["curves.png", "model.png", "optimizer_lr.png"]
    for path in (tmp_path / "plots").iterdir():
        height, width, _ = matplotlib.image.imread(path).shape
        assert (width, height) == (960, 540)


def test_a_picture_holds_a_point_for_each_job_at_the_place_of_its_value(tmp_path: Path, monkeypatch: object) -> None:
    from matplotlib.figure import Figure

    drawn = []
    assert isinstance(monkeypatch, pytest.MonkeyPatch)
    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **_: drawn.append((path.name, figure)))
    made(tmp_path, count=4, values=[{"seed": "0"}, {"seed": "10"}])
    axes = dict(drawn)["seed.png"].axes[0]
    assert sorted(map(tuple, axes.collections[0].get_offsets().tolist())) == [(0, 0.5), (0, 2.5), (10, 1.5), (10, 3.5)]
    assert axes.lines[0].get_ydata().tolist() == [1.5, 2.5]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0", "10"]
    assert [line.get_label() for line in dict(drawn)["curves.png"].axes[0].lines][-1] == "seed=0"  # the best, on top


def test_what_came_to_no_end_is_no_point_and_a_dashed_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    drawn = {}
    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **_: drawn.update({path.name: figure}))
    rows = [Row(name, {"seed": seed}, state, 2, 0.5, {}) for name, seed, state in (
        ("a", "0", "finished"), ("b", "1", "interrupted"), ("c", "2", "failed"),
    )]  # fmt: skip
    for row in rows:
        (tmp_path / row.name).mkdir()
        (tmp_path / row.name / "metrics.csv").write_text("step,epoch,val/loss\n1,0,1.0\n")
    write_plots(tmp_path, rows, "val/loss")
    assert drawn["seed.png"].axes[0].collections[0].get_offsets().tolist() == [[0.0, 0.5]]
    styles = {line.get_label(): line.get_linestyle() for line in drawn["curves.png"].axes[0].lines}
    assert styles == {"seed=0": "-", "seed=1": "--", "seed=2": "--"}


def test_jobs_without_a_metric_make_no_picture(tmp_path: Path) -> None:
    assert write_plots(tmp_path, [Row("never", {"seed": "1"}, "failed", 0, None, {})], "val/loss") == []


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1e308"])
def test_a_number_without_a_place_on_an_axis_is_not_drawn(tmp_path: Path, number: str) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.csv").write_text(f"step,epoch,val/loss\n1,0,{number if name == 'a' else 1}\n")
    rows = [
        Row(name, {"optimizer.lr": value}, "finished", 2, metric, {})
        for name, value, metric in (("a", number, 0.5), ("b", "1", float(number)))
    ]
    assert sorted(path.name for path in write_plots(tmp_path, rows, "val/loss")) == ["curves.png", "optimizer_lr.png"]
