"""A config that comes out of a file is data: whatever it names, nothing runs, connects, is written or grows."""

import resource
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import runner
from runner.__main__ import main as tools
from runner.errors import RunnerError
from tests.support.command_line import SMALL, Outcome, cli, trained_in
from tests.support.comparing import entries_of
from tests.support.processes import python

RUN = (*SMALL, "tracker=none", "max_steps=1", "checkpoint=every_n_steps", "checkpoint.every_steps=1")
MARK = "from pathlib import Path\nPath({!r}).touch()\n"
CODE = "from torch import nn\n\n\nclass Evil(nn.Module):\n    pass\n"
TOUCH = b"cbuiltins\nexec\n(S'import pathlib; pathlib.Path(\"marker\").touch()'\ntR."

Configure = Callable[[dict[str, Any]], Any]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last checkpoint of a small run."""
    work = tmp_path_factory.mktemp("origin")
    return trained_in(work, *RUN, "name=x", program=work / "run.py") / "outputs/x/last.tar"


@pytest.fixture
def work(work: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project's folder, the current directory: a module `mine` that leaves `marker` when it is imported."""
    monkeypatch.setattr(sys, "path", [str(work), *sys.path])
    monkeypatch.delenv("RUNNER_TRUST")
    before = set(sys.modules)
    yield work
    for name in set(sys.modules) - before:
        if name.split(".")[0] in ("mine", "outputs", "tests", "linked", "evil"):
            del sys.modules[name]


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def changed(good: Path, target: Path, configure: Configure, **entries: Any) -> Path:
    """Write a copy of a checkpoint whose config was changed."""
    content = entries_of(good)
    config = yaml.safe_load(content["config"])
    configure(config)
    content |= {"config": yaml.safe_dump(config), "overrides": [], **entries}
    target.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, target)
    return target


def outcomes(file: Path, capsys: Any, work: Path, *commands: str, again: tuple[str, ...] = ()) -> dict[str, Outcome]:
    """Let every command that builds something of a checkpoint's config open the file."""
    program = work / "run.py"
    words = {
        "evaluate": ("task=evaluate", f"checkpoint_path={file}"),
        "predict": ("task=predict", f"checkpoint_path={file}", "output=p.csv"),
        "resume": (f"resume={file}", "name=new", "max_steps=2"),
    }
    found = {
        name: cli(capsys, *words[name], *again, program=program) for name in words if not commands or name in commands
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["runner", "export", str(file), "--format", "state_dict", "--output", "out.pt"])
        if not commands or "export" in commands:
            found["export"] = Outcome(tools(), *capsys.readouterr())
        patch.setattr(sys, "argv", [str(program)])
        if not commands or "load" in commands:
            found["load"] = loaded(file)
    return found


def loaded(file: Path) -> Outcome:
    try:
        runner.load(str(file))
    except RunnerError as error:
        return Outcome(error.exit_code, "", f"error: {error}\n")
    return Outcome(0, "", "")


def within(node: dict[str, Any]) -> Configure:
    """Return what makes the model a list of torch's modules with another thing in it."""
    return lambda config: config.update(model={"_target_": "torch.nn.ModuleList", "modules": [node]})


def model(**node: Any) -> Configure:
    return lambda config: config.update(model=node)


PIPES = "torch.utils.data.datapipes.iter"
REFUSED: dict[str, Configure] = {
    "a pipe that unpickles": within({"_target_": f"{PIPES}.RoutedDecoder", "datapipe": [["x.pkl", TOUCH]]}),
    "a pipe that lists files": within({"_target_": f"{PIPES}.FileLister", "root": "/"}),
    "a log file": within({"_target_": "runner.tracking.console.LogFile", "path": "marker"}),
    "a log file as data": lambda config: config.update(
        data={"_target_": "runner.tracking.console.LogFile", "path": "marker"}
    ),
    "an attempt": within(
        {
            "_target_": "runner.sweeps.executors.attempt.Attempt",
            "argv": [],
            "log": "marker",
            "directory": ".",
            "record": "r",
            "folder": "f",
        }
    ),
    "a plugin": within({"_target_": "hydra_plugins.runner_launchers.LocalLauncher"}),
    "a replica": model(_target_="torch.nn.DataParallel", module={"_target_": "torch.nn.Identity"}),
    "an optimizer as a model": model(_target_="torch.optim.SGD", params=[]),
    "a loader": lambda config: config.update(data={"_target_": "torch.utils.data.DataLoader", "dataset": [1]}),
    "bytes": lambda config: config["model"].update(hidden=b"5"),
    "a date": lambda config: config["model"].update(hidden=[yaml.safe_load("2020-01-01")]),
    "no name": lambda config: config["model"].update(_target_=5),
    "a number for a model": lambda config: config.update(model=5),
    "no model": lambda config: config.pop("model"),
    "no learner": lambda config: config.pop("learner"),
    "a list for a learner": lambda config: config.update(learner=["_target_"]),
    "a script beside run.py": model(_target_="mine.Nothing"),
    "a script's function": model(_target_="mine.function"),
    "what came with the run": model(_target_="outputs.gift.evil.Evil"),
    "a folder of data within a package": model(_target_="package.downloads.evil.Evil"),
    "the tests": model(_target_="tests.evil.Evil"),
    "a link": model(_target_="linked.Evil"),
    "an attribute of every class": model(_target_="mine.Fine.__init__.__globals__"),
    "another module's": model(_target_="mine.os.system"),
}


@pytest.fixture
def project(work: Path) -> Path:
    """The folder with everything in it that a file might name."""
    mark = MARK.format(str(work / "marker"))
    write(work / "mine.py", f"import os\n{mark}def function():\n    pass\nclass Fine:\n    pass\n")
    write(work / "outputs/gift/evil.py", mark + CODE)
    write(work / "package/__init__.py", "")
    write(work / "package/downloads/evil.py", mark + CODE)
    write(work / "tests/__init__.py", mark)
    write(work / "tests/evil.py", mark + CODE)
    write(work / "elsewhere/linked.py", mark + CODE)
    (work / "linked.py").symlink_to("elsewhere/linked.py")
    return work


OF_DATA = ("a log file as data", "a loader")
EVERYWHERE = ("a pipe that unpickles", "a script beside run.py", "what came with the run")


@pytest.mark.parametrize(
    ("kind", "commands"),
    [
        *((kind, ("evaluate",) if kind in OF_DATA else ("load",)) for kind in REFUSED if kind not in EVERYWHERE),
        *((kind, ()) for kind in EVERYWHERE),
        *(
            pytest.param(kind, ("evaluate", "predict", "resume"), marks=pytest.mark.slow)
            for kind in REFUSED
            if kind not in EVERYWHERE
        ),
    ],
)
def test_nothing_runs_that_only_a_file_names(
    project: Path, good: Path, capsys: Any, kind: str, commands: tuple[str, ...]
) -> None:
    file = changed(good, project / "outputs/gift/best.tar", REFUSED[kind])
    before = sorted(path.relative_to(project) for path in project.rglob("*"))
    for command, outcome in outcomes(file, capsys, project, *commands).items():
        assert outcome.code == 2 and outcome.err.count("\n") == 1, f"{command}: {outcome}"
        assert outcome.err.startswith("error: ")
    assert before == sorted(path.relative_to(project) for path in project.rglob("*") if "__pycache__" not in path.parts)


def test_a_class_of_the_projects_own_package_needs_no_word_and_file_tools_trust_no_folder(
    work: Path, good: Path, capsys: Any
) -> None:
    write(work / "mine/__init__.py", "from .nets import *\n")
    write(
        work / "mine/nets.py",
        "from runner.models import Mlp\ntry:\n    class Net(Mlp):\n        pass\nfinally:\n    pass\n",
    )
    file = changed(good, work / "x.tar", lambda config: config["model"].update(_target_="mine.Net"))
    found = outcomes(file, capsys, work)
    assert {name: outcome.code for name, outcome in found.items()} == {
        "evaluate": 0, "predict": 0, "resume": 0, "load": 0, "export": 2
    }  # fmt: skip
    assert "trust=[mine]" in found["export"].err


def test_a_package_that_shadows_the_projects_own_is_not_taken_for_it(
    work: Path, good: Path, capsys: Any, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path_factory.mktemp("other")
    write(work / "mine/__init__.py", CODE)
    write(other / "mine/__init__.py", MARK.format(str(work / "marker")) + CODE)
    monkeypatch.setattr(sys, "path", [str(other), *sys.path])
    file = changed(good, work / "x.tar", model(_target_="mine.Evil"))
    found = outcomes(file, capsys, work, "evaluate", "load")
    assert all(outcome.code == 2 and "Python finds mine in" in outcome.err for outcome in found.values()), found
    assert not (work / "marker").exists()


def test_what_is_typed_may_be_anything_and_a_file_may_not(work: Path, good: Path, capsys: Any) -> None:
    words = [word for word in RUN if not word.startswith("model")]
    typed = ("model=own", "model._target_=torch.nn.Linear", "+model.out_features=3", "name=linear")
    assert cli(capsys, *words, *typed, program=work / "run.py").code == 0
    resumed = cli(capsys, "resume=outputs/linear", "max_steps=2", program=work / "run.py")
    assert resumed.code == 0, resumed.err


@pytest.mark.parametrize("name", ["Mnist", "FashionMnist"])
def test_a_file_starts_no_download(
    work: Path, good: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    asked: list[Any] = []

    def urlopen(*args: Any, **options: Any) -> Any:
        asked.append(args)
        raise OSError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    data = {"_target_": f"runner.data.{name}", "download": True, "root": str(work / "there"), "augment": "none"}
    file = changed(good, work / "x.tar", lambda config: config.update(data={**data, "workers": 0, "split": None}))
    outcomes(file, capsys, work)
    assert not asked and not (work / "there").exists()
    cli(capsys, "task=evaluate", f"checkpoint_path={file}", "data.download=true", program=work / "run.py")
    assert asked  # what is typed today counts


def synthetic(**keys: Any) -> Configure:
    return lambda config: config["data"].update(keys)


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


GREEDY: dict[str, Configure] = {
    "wide": lambda config: config["model"].update(hidden=[16000, 16000]),
    "deep": lambda config: config["model"].update(hidden=[1] * 11_000),
    "nested": lambda config: config["model"].update(hidden=nested(60)),
    "an embedding": model(_target_="torch.nn.Embedding", num_embeddings=10**7, embedding_dim=100),
    "layers": model(
        _target_="torch.nn.TransformerEncoder", encoder_layer={"_target_": "torch.nn.Identity"}, num_layers=10**9
    ),
    "copies": model(
        _target_="torch.nn.TransformerEncoder", num_layers=900,
        encoder_layer={"_target_": "torch.nn.Linear", "in_features": 4000, "out_features": 4000},
    ),
    "modules": model(_target_="torch.nn.ModuleList", modules=[{"_target_": "torch.nn.ReLU"}] * 25_000),
    "data": synthetic(size=10**9),
    "a sample": synthetic(shape=[10**5, 10**4]),
    "classes": synthetic(classes=10**9),
}  # fmt: skip


NUMBERS_OF_DATA = ("data", "a sample", "classes")


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        *((kind, "evaluate" if kind in NUMBERS_OF_DATA else "load") for kind in GREEDY),
        *(pytest.param(kind, command, marks=pytest.mark.slow) for kind in GREEDY for command in ("evaluate", "resume")),
    ],
)
def test_no_number_of_a_file_takes_gigabytes_or_minutes(
    work: Path, good: Path, capsys: Any, kind: str, command: str
) -> None:
    file = changed(good, work / "x.tar", GREEDY[kind])
    memory, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    outcome = outcomes(file, capsys, work, command)[command]
    assert outcome.code == 2 and outcome.err.count("\n") == 1, outcome
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 1_000_000  # KiB
    assert time.process_time() - began < 5


HEAVY: dict[str, tuple[list[int], dict[str, Any]]] = {
    "padding": ([1, 28, 28], {"_target_": "torch.nn.ConstantPad2d", "padding": 6000, "value": 0.0}),
    "a convolution": (
        [1, 28, 28],
        {"_target_": "torch.nn.Conv2d", "in_channels": 1, "out_channels": 3, "kernel_size": 1, "padding": 6000},
    ),
    "a pool of everything": ([1, 8, 8], {"_target_": "torch.nn.AdaptiveAvgPool2d", "output_size": 20_000}),
    "a wide window": (
        [1, 900, 900], {"_target_": "torch.nn.AvgPool2d", "kernel_size": 601, "stride": 1, "padding": 300}
    ),
    "an image of images": ([1, 28, 28], {"_target_": "torch.nn.Upsample", "scale_factor": 600}),
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "command"),
    [*((kind, command) for kind in HEAVY for command in ("evaluate", "export")), ("a convolution", "resume")],
)
def test_no_forward_pass_of_a_files_model_takes_gigabytes_or_minutes(
    work: Path, good: Path, capsys: Any, kind: str, command: str
) -> None:
    shape, node = HEAVY[kind]
    content = entries_of(good)
    (group,) = content["optimizer_state_dict"]["param_groups"]
    trained = kind == "a convolution"
    entries = {
        "model_state_dict": {"weight": torch.ones(3, 1, 1, 1), "bias": torch.ones(3)} if trained else {},
        "optimizer_state_dict": {
            "state": {}, "param_groups": [{**group, "params": [0, 1], "param_names": ["weight", "bias"]}]
        },
        "environment": content["environment"] | {"facts": {"in_channels": 1, "image_size": shape[1:]}},
    }  # fmt: skip
    del content

    def configure(config: dict[str, Any]) -> None:
        config["data"].update(shape=shape, size=8)
        config.update(model=node, batch_size=16)

    file = changed(good, work / "x.tar", configure, **entries)
    memory, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    again = ("resume_allow=[data,batch_size]",) if command != "export" else ()
    outcome = outcomes(file, capsys, work, command, again=again)[command]
    assert outcome.code == 2 and "with this file's arguments would take far more memory or time" in outcome.err
    assert "Traceback" not in outcome.err and f"trust=[{node['_target_']}]" in outcome.err
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 700_000  # KiB
    assert time.process_time() - began < 5 and not list(work.glob("out*"))


def test_workers_without_number_do_not_come_out_of_a_file(work: Path, good: Path, capsys: Any) -> None:
    file = changed(good, work / "x.tar", synthetic(workers=10**6))
    outcome = cli(capsys, "task=evaluate", f"checkpoint_path={file}", "data.workers=0", program=work / "run.py")
    assert outcome.code == 0 and "data.workers: 64 in the file, 0 now" in outcome.err.replace("128", "64")


def test_a_pickled_job_of_hydras_is_not_opened(work: Path, capsys: Any) -> None:
    (work / "config.pickle").write_bytes(TOUCH)
    outcome = cli(capsys, "--experimental-rerun", "config.pickle", program=work / "run.py")
    assert outcome.code == 2 and "resume=" in outcome.err and not (work / "marker").exists()


def test_file_tools_import_nothing_from_the_folder_that_they_are_called_in(work: Path, good: Path) -> None:
    for name in ("argparse", "zipfile", "json", "yaml"):
        write(work / f"{name}.py", MARK.format(str(work / "marker")))
    (work / "runner").mkdir()
    shown = python(work, "-m", "runner", "inspect", str(good))
    assert shown.returncode == 0 and not (work / "marker").exists(), shown.stderr


def test_a_model_of_a_file_that_does_not_run_is_one_sentence(good: Path, work: Path, capsys: Any) -> None:
    parts = {"model_state_dict": {}, "optimizer_state_dict": {"state": {}, "param_groups": []}}
    node = model(_target_="torch.nn.LPPool2d", norm_type=0, kernel_size=1)
    file = changed(good, work / "odd.tar", node, **parts)
    for outcome in outcomes(file, capsys, work, "evaluate").values():
        assert outcome.code == 2 and "odd.tar does not run on these data: " in outcome.err, outcome.err


def test_a_model_of_a_file_that_has_no_forward_is_not_said_to_be_large(good: Path, work: Path, capsys: Any) -> None:
    file = changed(good, work / "odd.tar", model(_target_="torch.nn.ModuleList"), model_state_dict={})
    (outcome,) = outcomes(file, capsys, work, "evaluate").values()
    assert outcome.code == 2 and "missing the required" in outcome.err and "memory" not in outcome.err


def test_a_file_has_nothing_compiled(good: Path, work: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda *_, **__: pytest.fail("compiled"))
    file = changed(good, work / "fast.tar", lambda config: config["device"].update(compile=True))
    assert all(outcome.code == 0 for outcome in outcomes(file, capsys, work, "evaluate", "export", "load").values())


@pytest.mark.parametrize("name", ["a/../../../b", "a\x00b", "x" * 300, "..", "\ud800x"])
def test_a_part_of_a_file_names_no_file_elsewhere(good: Path, work: Path, capsys: Any, name: str) -> None:
    weights = entries_of(good)["model_state_dict"]
    torch.save({"epoch": 1, f"{name}_state_dict": weights, "c_state_dict": weights}, work / "odd.tar")
    outcome = outcomes(work / "odd.tar", capsys, work, "export")["export"]
    assert outcome.code == 2 and outcome.err.startswith("error: ") and outcome.err.count("\n") == 1
    assert not list(work.glob("*.pt"))


def test_odd_facts_of_the_data_give_no_sample(good: Path, work: Path, capsys: Any) -> None:
    facts = {"in_channels": 1, "image_size": 5, "num_classes": 10, "in_features": 1024}
    environment = entries_of(good)["environment"] | {"facts": facts}
    file = changed(good, work / "odd.tar", lambda config: None, environment=environment)
    outcome = outcomes(file, capsys, work, "export")["export"]
    assert "Traceback" not in outcome.err and outcome.code in (0, 2)
