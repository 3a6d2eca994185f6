"""Every command that opens a file, on every kind of file that is damaged, hostile, or of a machine with a GPU."""

import io
import os
import pickle
import resource
import shutil
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import runner
from runner.__main__ import main as tools
from runner.errors import RunnerError
from runner.models import Mlp
from tests.support.command_line import SMALL, Outcome, cli, trained_in
from tests.support.comparing import difference, entries_of

RUN = (*SMALL, "optimizer=adam", "tracker=none", "max_steps=2", "checkpoint.every_steps=1")


class Touching:
    """Makes a directory when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("marker",)


def nested(levels: int) -> list[Any]:
    """Return lists within lists."""
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def zipped(target: Path, source: Path, *, method: int = zipfile.ZIP_STORED, twice: bool = False) -> None:
    """Write a checkpoint's members into another archive."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", method) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
        if twice:
            new.writestr(old.namelist()[-1].split("/")[0] + "/DATA.PKL", b"")


def with_entries(target: Path, source: Path, **changes: Any) -> None:
    """Write a checkpoint with some entries replaced."""
    torch.save({**entries_of(source), **changes}, target)


def with_target(target: Path, source: Path, name: str) -> None:
    """Write a checkpoint whose config names another class."""
    entries = entries_of(source)
    with_entries(target, source, config=entries["config"].replace("runner.models.Mlp", name))


def flipped(target: Path, source: Path) -> None:
    """Write a checkpoint with one bit of a tensor changed."""
    content = bytearray(source.read_bytes())
    with zipfile.ZipFile(source) as archive:
        member = next(m for m in archive.infolist() if m.filename.endswith("data/0"))
    content[member.header_offset + 64 + 3] ^= 4
    target.write_bytes(content)


def legacy(target: Path, source: Path) -> None:
    torch.save({"model_state_dict": {}}, target, _use_new_zipfile_serialization=False)


def pickled(target: Path, source: Path) -> None:
    target.write_bytes(pickle.dumps({"model_state_dict": Touching()}))


def deep(target: Path, source: Path) -> None:
    structure = b"\x80\x02" + b"]" * 5000 + b"a" * 4999 + b"."
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("archive/data.pkl", structure)
        archive.writestr("archive/version", b"3\n")


def giant(target: Path, source: Path) -> None:
    weights = {"layers.1.weight": torch.zeros(1).expand(1 << 33)}
    torch.save({**entries_of(source), "model_state_dict": weights}, target)


HOSTILE: dict[str, Callable[[Path, Path], object]] = {
    "truncated": lambda target, source: target.write_bytes(source.read_bytes()[:-30]),
    "flipped": flipped,
    "empty": lambda target, source: target.write_bytes(b""),
    "text": lambda target, source: target.write_text("<html>not found</html>"),
    "bare pickle": pickled,
    "code inside": lambda target, source: with_entries(target, source, extra=Touching()),
    "legacy": legacy,
    "deflated": lambda target, source: zipped(target, source, method=zipfile.ZIP_DEFLATED),
    "two structures": lambda target, source: zipped(target, source, twice=True),
    "giant": giant,
    "deep": deep,
    "directory": lambda target, source: target.mkdir(),
    "pipe": lambda target, source: os.mkfifo(target),
}
CONFIGS: dict[str, Callable[[Path, Path], object]] = {
    "a function that runs programs": lambda t, s: with_target(t, s, "torch.utils.collect_env.run"),
    "a way round": lambda t, s: with_target(t, s, "torch.nn.modules.module.torch.load"),
    "somebody's class": lambda t, s: with_target(t, s, "tests.own.points.NoisyPoints"),
    "an environment variable": lambda t, s: with_entries(
        t, s, config=entries_of(s)["config"].replace("hidden:\n  - 5", "hidden: ${oc.env:HOME}")
    ),
}
COMMANDS: dict[str, tuple[str, ...]] = {
    "inspect": ("inspect", "FILE"),
    "verify": ("verify", "FILE"),
    "diff": ("diff", "FILE", "good.tar"),
    "export": ("export", "FILE", "--format", "state_dict"),
    "evaluate": ("task=evaluate", "checkpoint_path=FILE"),
    "predict": ("task=predict", "checkpoint_path=FILE", "output=p.csv"),
    "resume": ("resume=FILE", "name=new"),
    "warm start": (*RUN, "warm_start.path=FILE", "name=new"),
    "load": ("FILE",),
}
BUILDING = ("export", "evaluate", "predict", "resume", "load")


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a run in it, and its last checkpoint as good.tar."""
    folder = trained_in(tmp_path_factory.mktemp("origin"), *RUN, "name=x")
    shutil.copy(folder / "outputs/x/last.tar", folder / "good.tar")
    return folder


@pytest.fixture
def work(origin: Path, work: Path) -> Path:
    """A fresh directory with good.tar."""
    shutil.copy(origin / "good.tar", work)
    return work


def run(command: str, file: str, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> Outcome:
    """Run one of the commands on a file in this process."""
    words = [word.replace("FILE", file) for word in COMMANDS[command]]
    if command == "load":
        try:
            runner.load(words[0])
        except RunnerError as error:
            return Outcome(error.exit_code, "", f"error: {error}\n")
        return Outcome(0, "", "")
    if command in ("inspect", "verify", "diff", "export"):
        capsys.readouterr()
        monkeypatch.setattr("sys.argv", ["runner", *words])
        return Outcome(tools(), *capsys.readouterr())
    return cli(capsys, *words)


@pytest.mark.parametrize("kind", HOSTILE)
def test_no_command_is_taken_in_by_a_damaged_or_hostile_file(
    work: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    HOSTILE[kind](work / "evil.tar", work / "good.tar")
    if kind == "directory":
        (work / "evil.tar/notes.txt").write_text("no checkpoint")
    before = sorted(path.name for path in work.iterdir())
    for command in COMMANDS.keys() - ({"inspect"} if kind == "deep" else set()):  # it shows what it may, and ends
        memory, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
        outcome = run(command, "evil.tar", capsys, monkeypatch)
        said = outcome.err or outcome.out
        assert outcome.code == 2 and said.count("\n") == 1, f"{command}: {outcome}"
        assert "evil.tar" in said and "Traceback" not in said and "weights_only=False" not in said
        assert sorted(path.name for path in work.iterdir()) == before, command
        assert time.monotonic() - began < 5
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 400_000  # KiB


@pytest.mark.parametrize("kind", CONFIGS)
def test_no_command_builds_what_only_a_file_names(
    work: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    CONFIGS[kind](work / "evil.tar", work / "good.tar")
    before = sorted(path.name for path in work.iterdir())
    for command in BUILDING:
        outcome = run(command, "evil.tar", capsys, monkeypatch)
        assert outcome.code == 2 and outcome.err.startswith("error: "), f"{command}: {outcome}"
        assert "Traceback" not in outcome.err and sorted(path.name for path in work.iterdir()) == before
    assert run("inspect", "evil.tar", capsys, monkeypatch).code == 0


def claiming_a_gpu(content: Any) -> bytes:
    """Return what torch would have saved on a machine whose tensors are on cuda:0."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with zipfile.ZipFile(buffer) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    [name] = [name for name in members if name.endswith("data.pkl")]
    cpu, gpu = (b"X" + struct.pack("<I", len(text)) + text for text in (b"cpu", b"cuda:0"))
    assert cpu in members[name]
    members[name] = members[name].replace(cpu, gpu)
    changed = io.BytesIO()
    with zipfile.ZipFile(changed, "w") as archive:
        for member, text in members.items():
            archive.writestr(member, text)
    return changed.getvalue()


def test_a_file_from_a_gpu_just_works_on_a_cpu(work: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (work / "gpu.tar").write_bytes(claiming_a_gpu(entries_of(work / "good.tar")))
    with pytest.raises(RuntimeError, match="CUDA"):
        torch.load("gpu.tar", weights_only=True)
    for command in ("verify", "diff", "evaluate", "predict", "warm start", "load", "export", "inspect"):
        outcome = run(command, "gpu.tar", capsys, monkeypatch)
        assert outcome.code == 0, f"{command}: {outcome}"
    assert cli(capsys, "resume=gpu.tar", "name=from_gpu", "max_steps=4").code == 0
    assert cli(capsys, "resume=good.tar", "name=from_cpu", "max_steps=4").code == 0
    ends = [entries_of(work / f"outputs/{name}/last.tar") for name in ("from_gpu", "from_cpu")]
    assert difference(*ends) is None


def test_a_tutorials_checkpoint_from_a_gpu_is_adopted_and_warms(work: Path, capsys: Any) -> None:
    model = Mlp(4, 3, hidden=[5])
    optimizer = torch.optim.Adam(model.parameters())
    nn.functional.cross_entropy(model(torch.randn(3, 4)), torch.tensor([0, 1, 2])).backward()
    optimizer.step()
    states = {"model_state_dict": model.state_dict(), "optimizer_state_dict": optimizer.state_dict()}
    (work / "general.tar").write_bytes(claiming_a_gpu({"epoch": 0, "loss": 0.5, **states}))
    (work / "bare.pth").write_bytes(claiming_a_gpu(model.state_dict()))
    words = (*RUN[:-2], "epochs=2")
    outcome = cli(capsys, *words, "resume=general.tar", "name=adopted")
    assert outcome.code == 0, outcome.err
    outcome = cli(capsys, *words, "warm_start.path=bare.pth", "name=warm")
    assert outcome.code == 0 and "loaded 4" in outcome.out, outcome.err
