"""Files with right checksums and wrong contents: each reader takes one, or none; nothing is run, nothing is slow."""

import contextlib
import io
import json
import random
import resource
import shutil
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import runner
from runner.checkpoint.format import read_entries, read_plain
from runner.checkpoint.inert import TensorFacts
from runner.checkpoint.reader.contents import read_contents
from runner.checkpoint.reader.entries import FORMAT
from runner.checkpoint.reader.header import verified_header
from runner.commands.tools.inspect import inspect_command
from runner.errors import RunnerError
from tests.support.command_line import SMALL, cli
from tests.support.comparing import entries_of, same
from tests.support.forged_archives import (
    Members,
    edited_config,
    edited_members,
    edited_pickle,
    edited_value,
    saved,
    write,
    zoo,
)

pytestmark = pytest.mark.filterwarnings("ignore:Sparse CSR tensor support:UserWarning")

FEW, MANY = 120, 2500
RUN = (*SMALL, "optimizer=adam", "tracker=none", "max_steps=2", "checkpoint.every_steps=1")
BOTH = [FEW, pytest.param(MANY, marks=pytest.mark.slow)]


@pytest.fixture(autouse=True)
def bounded(work: Path) -> Iterator[None]:
    """A directory of its own, in which nothing has been made by the end, and no gigabyte more in use."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 700_000  # KiB
    assert not list(work.glob("*marker*")) and not (work / "archive").exists()


def answered(read: Any, path: Path) -> tuple[Any, RunnerError | None]:
    """Return what a reader gives, or its refusal, in a few seconds."""
    began = time.monotonic()
    try:
        return read(path), None
    except RunnerError as error:
        assert "weights_only" not in str(error) and "\n" not in str(error)
        return None, error
    finally:
        assert time.monotonic() - began < 5


def agreed(path: Path) -> Any:
    """Return what a file holds, or None, if all readers say the same of it."""
    contents, refused = answered(read_contents, path)
    found, unreadable = answered(read_plain, path)
    if isinstance(found, dict) and found.get("format") == FORMAT:
        found, unreadable = answered(read_entries, path)
    assert (refused is None) == (unreadable is None), f"{refused!r} and {unreadable!r}"
    if refused is not None:
        return None
    header, no_header = answered(verified_header, path)
    assert (no_header is None) == isinstance(found, dict), no_header
    for as_json in (False, True):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            inspect_command(str(path), as_json=as_json)
        if as_json:
            json.loads(printed.getvalue())
    shown = [(facts.dtype, facts.shape) for facts in contents.whole.tensors]
    tensors = [leaf for leaf in leaves(header if isinstance(found, dict) else [], TensorFacts)]
    assert not isinstance(found, dict) or len(tensors) >= len(shown)
    assert_as_torch_reads_it(path, found)
    return found


def leaves(value: Any, kind: type) -> Iterator[Any]:
    """Yield what is of a kind inside plain containers."""
    if isinstance(value, kind):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from leaves(item, kind)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from leaves(item, kind)


def assert_as_torch_reads_it(path: Path, found: Any) -> None:
    """What torch reads at all in a file that we take, it reads as we do."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            expected = torch.load(path, map_location="cpu", weights_only=True)
        except Exception:
            return
    assert same(found, expected), f"{found!r:.500}\n{expected!r:.500}"


@pytest.mark.parametrize("count", BOTH)
def test_readers_agree_on_edited_pickles(tmp_path: Path, count: int) -> None:
    bases, taken = list(map(saved, zoo())), 0
    for number in range(count):
        chance = random.Random(number)
        members: Members = edited_pickle(chance, chance.choice(bases))
        taken += agreed(write(tmp_path / "x.pt", members)) is not None
    assert 0.02 * count < taken < 0.6 * count


@pytest.mark.parametrize("count", BOTH)
def test_readers_agree_on_edited_members(tmp_path: Path, count: int) -> None:
    bases, taken = list(map(saved, zoo())), 0
    for number in range(count):
        chance = random.Random(number)
        members: Members = chance.choice(bases)
        for _ in range(chance.choice([1, 1, 2])):
            members = edited_members(chance, members)
        taken += agreed(write(tmp_path / "x.pt", members)) is not None
    assert 0.1 * count < taken < 0.8 * count


@pytest.fixture
def entries(capsys: Any, bounded: None) -> dict[str, Any]:
    """The entries of a real run's checkpoint, with a moving average and a schedule."""
    assert cli(capsys, *RUN, "ema.decay=0.5", "scheduler=step", "name=x").code == 0
    found = entries_of(Path("outputs/x/last.tar"))
    shutil.rmtree("outputs")
    return found


COMMANDS = (
    ("resume=x.tar", "name=new", "max_steps=3"),
    ("task=evaluate", "checkpoint_path=x.tar"),
    (*RUN, "warm_start.path=x.tar", "name=new"),
)


SEEDS = [range(12), *(pytest.param(range(at, at + 60), marks=pytest.mark.slow) for at in range(12, 432, 60))]


def edited_entries(chance: random.Random, entries: dict[str, Any]) -> Any:
    """Return entries with another value somewhere, or another text of the config."""
    if chance.random() < 0.5:
        return {**entries, "config": edited_config(chance, entries["config"])}
    return edited_value(chance, entries)


@pytest.mark.parametrize("seeds", SEEDS, ids=str)
def test_commands_answer_edited_entries_in_a_sentence_or_do_what_they_say(
    tmp_path: Path, capsys: Any, entries: dict[str, Any], seeds: range
) -> None:
    for number in seeds:
        chance = random.Random(number)
        torch.save(edited_entries(chance, entries), tmp_path / "x.tar")
        agreed(tmp_path / "x.tar")
        answered(runner.load, Path("x.tar"))
        words = chance.choice(COMMANDS)
        outcome = cli(capsys, *words)
        assert outcome.code in (0, 2) and "Traceback" not in outcome.err, f"{number}: {outcome}"
        if outcome.code:
            *_, last = outcome.err.strip().splitlines()
            assert last.startswith("error: ") and not Path("outputs").exists(), f"{number}: {outcome}"
        shutil.rmtree("outputs", ignore_errors=True)
