"""`python -m runner list`: sorted, filtered, as JSON, CSV and a page, on directories as runs leave them."""

import csv
import io
import json
import os
import re
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest

from runner.commands.tools.listing.columns import condition
from runner.commands.tools.listing.curves import curves
from runner.commands.tools.listing.last_values import extremes, last_values
from runner.commands.tools.listing.run import Run
from runner.commands.tools.listing.settings import Settings
from runner.errors import ConfigError
from runner.tracking.csv_file import read_rows
from tests.support.command_line import Outcome
from tests.support.run_directories import write_run

Tool = Callable[..., Outcome]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Four runs: different models, rates and metrics, one without metrics."""
    root = tmp_path / "outputs"
    lenet, mlp = "runner.models.LeNet", "runner.models.Mlp"
    write_run(root / "a", rate=0.1, model=lenet, accuracies=[0.5, 0.9, 0.7])
    write_run(root / "b", rate=0.01, model=mlp, accuracies=[0.2, 0.95], state="failed", reason="it broke")
    write_run(root / "s/c", rate=1e-3, model=lenet, accuracies=[0.8])
    write_run(root / "d", rate=0.1, model=lenet, accuracies=[], state="interrupted")
    return root


def names(outcome: Outcome) -> list[str]:
    assert outcome.code == 0, outcome.err
    return [Path(one["path" if "path" in one else "run"]).name for one in json.loads(outcome.out)]


@pytest.mark.parametrize(
    ("key", "order"),
    [
        ("run", "abdc"), ("-run", "cdba"), ("val/accuracy", "acbd"), ("-val/accuracy", "bcad"),
        ("-val/accuracy:max", "bacd"), ("optimizer.lr", "cbad"), ("-lr", "adbc"), ("state", "bacd"),
        ("reason", "badc"), ("-reason", "badc"), ("-size", None),
    ],
)  # fmt: skip
def test_runs_are_sorted_by_any_column_metric_or_setting_and_missing_values_come_last(
    runs: Path, tool: Tool, key: str, order: str | None
) -> None:
    found = names(tool("list", runs, "--json", "--sort", key))
    assert sorted(found) == list("abcd") and (order is None or "".join(found) == order)


@pytest.mark.parametrize(
    ("conditions", "left"),
    [
        (["state=finished"], "ac"), (["state!=finished"], "bd"), (["model=lenet"], "acd"), (["model=LENET"], "acd"),
        (["optimizer.lr=0.1"], "ad"), (["optimizer.lr=1e-1", "state=FINISHED"], "a"), (["optimizer=sgd"], "abcd"),
        (["val/accuracy>0.75"], "bc"), (["val/accuracy<=0.8"], "ac"), (["val/accuracy:max>=0.9"], "ab"),
        (["run=*/s/*"], "c"), (["reason=null"], "acd"), (["updated>2026-01-01"], "abcd"), (["updated<2026-01-01"], ""),
        (["early_stopping.patience=null"], "abcd"), (["deterministic=false"], "abcd"), (["epoch==3"], "a"),
    ],
)  # fmt: skip
def test_conditions_select_runs(runs: Path, tool: Tool, conditions: list[str], left: str) -> None:
    words = [word for one in conditions for word in ("--where", one)]
    assert sorted(names(tool("list", runs, "--json", *words))) == list(left)


def test_columns_are_shown_in_their_order_as_table_json_and_csv(runs: Path, tool: Tool) -> None:
    words = ("list", runs, "--sort", "-best", "--columns", "run,val/accuracy,optimizer.lr,optimizer,size,reason")
    head, first, *_ = tool(*words).out.splitlines()
    assert head.split() == ["run", "val/accuracy", "optimizer.lr", "optimizer", "size", "reason"]
    assert first.split()[1:] == ["0.95", "0.01", "SGD", "0.0", "MiB", "it", "broke"]
    entries = json.loads(tool(*words, "--json").out)
    assert list(entries[0]) == head.split() and entries[0]["reason"] == "it broke" and entries[-1]["reason"] is None
    rows = list(csv.DictReader(io.StringIO(tool(*words, "--csv").out)))
    assert [row["val/accuracy"] for row in rows] == ["0.95", "0.7", "0.8", ""] and int(rows[0]["size"]) > 0


def test_json_has_every_metric_by_name_with_its_last_value(runs: Path, tool: Tool) -> None:
    first = json.loads(tool("list", runs, "--json").out)[0]
    assert first["metrics"]["val/accuracy"] == 0.7 and first["metrics"]["test/accuracy"] == 0.625


def test_an_unknown_key_is_answered_with_the_nearest(runs: Path, tool: Tool) -> None:
    for words in (("--sort", "val/acc"), ("--where", "val/acc>1"), ("--columns", "run,val/acc")):
        outcome = tool("list", runs, *words)
        assert outcome.code == 2 and "val/accuracy" in outcome.err and outcome.err.count("\n") == 1
    assert "optimizer.lr" in tool("list", runs, "--sort", "optimizer.rl").err


def test_a_condition_that_is_none_is_answered_with_one_that_works(runs: Path, tool: Tool) -> None:
    outcome = tool("list", runs, "--where", "finished")
    assert outcome.code == 2
    for advised in ("val/accuracy>0.9", "optimizer.lr=0.01"):
        assert advised in outcome.err and tool("list", runs, "--where", advised).code == 0
    outcome = tool("list", runs, "--where", "val/accuracy>high")
    assert outcome.code == 2 and "val/accuracy>0.9" in outcome.err
    with pytest.raises(ConfigError):
        condition("")


def test_a_run_is_called_by_its_name_or_its_path(runs: Path, tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs.parent)
    for called in ("s/c", "outputs/s/c", "s/*"):
        assert names(tool("list", "--json", "--where", f"run={called}")) == ["c"]


def test_a_key_that_only_other_runs_have_is_known(runs: Path, tool: Tool) -> None:
    assert names(tool("list", runs, "--json", "--where", "run=*/d", "--sort", "val/accuracy")) == ["d"]


def test_an_empty_directory_has_no_unknown_keys(tmp_path: Path, tool: Tool) -> None:
    assert tool("list", tmp_path, "--sort", "-val/accuracy", "--where", "a=1").code == 0


@pytest.mark.parametrize("form", [("--json", "--csv"), ("--json", "--html", "x")])
def test_one_form_at_a_time(runs: Path, tool: Tool, form: Sequence[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        tool("list", runs, *form)
    assert exit_.value.code == 2


def test_last_values_are_those_of_the_whole_file_however_long(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    lines = ["step,epoch,train/loss,val/loss,rare,never"]
    lines += [f"{step},1,{step / 7},{step if step % 50 == 0 else ''},{1 if step == 3 else ''}," for step in range(9000)]
    path.write_text("\n".join([*lines, "9000,1,0.5"]))  # the last line is torn
    whole = {name: float(text) for row in read_rows(path) for name, text in row.items()}
    assert last_values(path) == whole and whole["rare"] == 1 and whole["val/loss"] == 8950
    assert extremes(path, "val/loss") == (0, 8950) and extremes(path, "never") is None


@pytest.mark.parametrize("content", [b"", b"\n", b"a,b\n1,2\n", b"step,epoch\n", b"\xff\xfe\n"])
def test_a_file_that_no_run_writes_has_no_values(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "metrics.csv").write_bytes(content)
    assert last_values(tmp_path / "metrics.csv") == {}


def test_a_file_with_a_hole_of_terabytes_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("step,epoch,loss,never\n1,1,0.5,\n")
    os.truncate(path, 1 << 42)
    with open(path, "ab") as file:
        file.write(b"\n2,1,0.25,\n")
    assert last_values(path) == {"step": 2, "epoch": 1, "loss": 0.25}


def test_a_pipe_in_place_of_the_metrics_does_not_stop_the_listing(runs: Path, tool: Tool) -> None:
    (runs / "a/metrics.csv").unlink()
    os.mkfifo(runs / "a/metrics.csv")
    assert tool("list", runs, "--json").code == 0


def test_settings_are_those_of_the_newest_attempt_whatever_the_style_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("{optimizer: {lr: 0.5}, model: {_target_: a.B}}")
    assert Settings(tmp_path).get("optimizer.lr") == 0.5
    (tmp_path / "config.yaml").write_text("optimizer:\n  lr: 0.25\nseed: 3\n")
    assert Settings(tmp_path).get("optimizer.lr") == 0.25 and Settings(tmp_path).get("seed") == 3
    assert Settings(tmp_path).get("optimizer.none", "nothing") == "nothing"
    (tmp_path / "config.yaml").write_text("optimizer:\n  inner:\n    lr: 1\n  text: |-\n    lr: 2\n  lr: -3.0e-4\n")
    assert Settings(tmp_path).get("optimizer.lr") == Settings(tmp_path).whole()["optimizer"]["lr"] == -3e-4
    (tmp_path / "config.yaml").write_text("optimizer:\n    lr: 1\n    inner:\n  lr: 2\n")
    assert Settings(tmp_path).get("optimizer.lr") is None
    (tmp_path / "config.yaml").write_text("a: &x [1]\nb: *x\n")
    assert Settings(tmp_path).get("b") is None


class Page(HTMLParser):
    """Collects the elements and attributes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_page_has_the_runs_and_their_curves_and_loads_nothing(runs: Path, tmp_path: Path, tool: Tool) -> None:
    page = tmp_path / "page.html"
    assert tool("list", runs, "--html", page).code == 0
    text = page.read_text()
    tags = [tag for tag, _ in Page(text).tags]
    assert tags.count("tr") == 5 and tags.count("script") == 2 and not {"link", "img", "iframe"} & set(tags)
    assert not [name for _, held in Page(text).tags for name in held if re.match("src|href|action|on", name)]
    [policy] = [str(held["content"]) for _, held in Page(text).tags if held.get("http-equiv")]
    assert "default-src 'none'" in policy and "script-src 'sha256-" in policy
    data = json.loads(text.split('id="data">')[1].split("</script>")[0])
    assert [line["values"] for line in data["curves"]["val/accuracy"]] == [[0.5, 0.9, 0.7], [0.2, 0.95], [0.8]]


HOSTILE = '</script><script>alert(1)</script><img src=x onerror="alert(2)">'


def test_nothing_in_a_hostile_run_becomes_a_part_of_the_page(tmp_path: Path, tool: Tool) -> None:
    write_run(tmp_path / "outputs/a<b>&'\"", model=f"a.{HOSTILE}", reason=HOSTILE, metric=f"val/{HOSTILE}")
    page = tmp_path / "page.html"
    words = ("--columns", "run,model,reason,state,optimizer")
    assert tool("list", tmp_path / "outputs", "--html", page, *words).code == 0
    tags = Page(page.read_text()).tags
    assert [tag for tag, _ in tags].count("script") == 2 and "img" not in [tag for tag, _ in tags]
    assert not [name for _, held in tags for name in held if name.startswith("on")]


def test_a_page_replaces_a_page_and_nothing_else(runs: Path, tmp_path: Path, tool: Tool) -> None:
    page = tmp_path / "page.html"
    for _ in range(2):
        assert tool("list", runs, "--html", page).code == 0
    page.write_text("mine")
    outcome = tool("list", runs, "--html", page)
    assert outcome.code == 2 and "--html" in outcome.err and page.read_text() == "mine"
    assert tool("list", runs, "--html", tmp_path / "none/page.html").code == 2


def test_long_curves_are_thinned_to_their_extremes_and_end(tmp_path: Path) -> None:
    values = [float(number % 977) for number in range(20_000)]
    write_run(tmp_path / "a", accuracies=values)
    [line] = curves([Run(tmp_path / "a")])["val/accuracy"]
    assert len(line["steps"]) <= 400 and list(line["steps"]) == sorted(line["steps"])
    assert max(line["values"]) == 976 and line["values"][-1] == values[-1] and line["steps"][-1] == 20_000
