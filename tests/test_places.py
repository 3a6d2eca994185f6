"""What is given as a path is one of this machine, with `~` as the home, or is refused before anything is made."""

import os
from pathlib import Path

import numpy
import pytest

import runner
from runner.__main__ import main as tools
from runner.errors import ConfigError
from runner.places import local_path
from runner.run_directory.names import name_of, place_of
from runner.wiring.overrides.arguments import parse, value_of, with_homes
from tests.support.command_line import MLP, cli

URL = "s3://bucket/x"


@pytest.mark.parametrize("text", ["s3://b/x", "https://a/b.tar", "file:///tmp/x", "outputs/s3://x", "x://"])
def test_a_url_is_no_path(text: str) -> None:
    with pytest.raises(ConfigError, match=r"resume=.* is a URL, and only local paths work"):
        local_path(text, "resume")


def test_a_file_url_is_answered_with_its_path() -> None:
    with pytest.raises(ConfigError, match="write /tmp/a b"):
        local_path("file:///tmp/a b", "resume")


@pytest.mark.parametrize("text", ["", "  ", "a\0b", "x" * 5000, "~nobody_of_this_name/x"])
def test_what_no_file_can_be_called_is_one_sentence(text: str) -> None:
    with pytest.raises(ConfigError):
        local_path(text, "output")


@pytest.mark.parametrize("text", ["a b/ü", "x/", "/abs", "a:b", "a=1,b/c", "./~x", "C:/x", "a//b"])
def test_any_other_text_is_a_path_as_it_is(text: str) -> None:
    assert local_path(text) == Path(text)


def test_the_home_is_meant_by_a_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert local_path("~/d") == Path("/home/me/d") and local_path("~") == Path("/home/me")
    assert with_homes(["--config-dir=~/c"]) == ["--config-dir=/home/me/c"]


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("data.root=~/d", "~/d"), ("data.root=~", "~"), ("data.root=~/a b (1)", "~/a b (1)"),
        ("data.root='~/d'", "~/d"),
        ('data.root="~/d"', "~/d"), ("data.root=/a~b", "/a~b"), ("data.root=~me/d", "~me/d"),
        ("data.root=~/a=b", "~/a=b"),
    ],
)  # fmt: skip
def test_a_word_may_begin_with_the_home(word: str, value: str) -> None:
    if "/a~b" in word:  # the grammar itself takes no tilde amid a word, and it is no home there
        assert with_homes([word]) == [word]
        return
    assert value_of(with_homes([word]), "data.root") == value


def test_each_of_several_homes_is_one_and_a_deletion_stays_one() -> None:
    swept = parse(with_homes(["data.root=~/a,~/b,c"]))[0].value()
    assert [getattr(one, "text", one) for one in swept.list] == ["~/a", "~/b", "c"]
    assert parse(with_homes(["trust=[~/a,b]"]))[0].value() == ["~/a", "b"]
    assert with_homes(["~scheduler", "~experiment=x"]) == ["~scheduler", "~experiment=x"]


@pytest.mark.parametrize(
    "words",
    [
        f"resume={URL}", f"task=evaluate checkpoint_path={URL}", f"warm_start.path={URL}",
        f"data=mnist data.root={URL}",
        f"data=arrays data.path={URL}", f"data=image_folder data.root={URL}", f"hydra.run.dir={URL}",
        f"--config-dir={URL}",
        f"-m seed=0,1 hydra.sweep.dir={URL}", f"-m seed=0,1 --config-dir={URL}",
        f"-m seed=0,1 hydra/launcher=basic hydra.sweep.dir={URL}", "hydra.run.dir=/tmp/elsewhere",
        "hydra.run.dir=outputs",
        "-m seed=0,1 hydra.sweep.dir=/tmp/elsewhere", "hydra.job.chdir=true", "-m seed=0,1 hydra.job.chdir=true",
        "resume=''", "task=evaluate checkpoint_path=~nobody_here/x", "resume=outputs", "resume=nothing/",
    ],
)  # fmt: skip
def test_a_place_that_cannot_be_is_one_sentence_and_nothing_is_made(
    words: str, work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", [])
    answer = cli(capsys, *words.split())
    assert (answer.code, answer.err.count("\n")) == (2, 1), answer.err
    assert answer.err.startswith("error: ") and "Traceback" not in answer.err
    assert not list(work.iterdir())


@pytest.mark.parametrize("tool", ["inspect", "verify", "list", "report", "diff x", "export --format module"])
def test_a_file_tool_refuses_a_url(
    tool: str, work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["runner", *tool.split(), URL])
    assert tools() == 2
    assert f"{URL} is a URL" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="is a URL"):
        runner.load(URL)


def test_every_path_understands_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOME", str(tmp_path))
    numpy.savez(tmp_path / "d.npz", train_inputs=numpy.ones((20, 3), "float32"), train_targets=numpy.arange(20) % 2)
    words = ["data=arrays", "data.path=~/d.npz", *MLP, "device=cpu", "tracker=csv", "epochs=2"]
    assert cli(capsys, *words, "name=x").code == 0
    assert "path: ~/d.npz" in Path("outputs/x/config.yaml").read_text()
    assert cli(capsys, "resume=~/work/outputs/x", "epochs=3").code == 0
    assert cli(capsys, *words, "name=y", "warm_start.path=~/work/outputs/x/best.tar").code == 0
    best = "checkpoint_path=~/work/outputs/x/best.tar"
    assert cli(capsys, "task=evaluate", best).code == 0
    assert cli(capsys, "task=predict", best, "output=~/p.csv").code == 0
    assert (tmp_path / "p.csv").is_file()
    monkeypatch.setattr("sys.argv", ["runner", "verify", "~/work/outputs/x"])
    assert tools() == 0
    assert not os.path.exists("~")


def test_a_run_is_named_by_its_directory_also_through_links(work: Path) -> None:
    (work / "big/x").mkdir(parents=True)
    (work / "out").mkdir()
    (work / "outputs").symlink_to("out")
    (work / "outputs/x").symlink_to(work / "big/x")
    assert name_of(Path("outputs/x")) == "x" and name_of(work / "out/y/z") == "y/z"
    assert name_of(Path("outputs")) is None and name_of(Path("outputs/../big/x")) is None
    with pytest.raises(ConfigError, match="name="):
        place_of("outputs/.hidden", "hydra.run.dir")
