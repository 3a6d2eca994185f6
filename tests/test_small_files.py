"""Small files of a run directory are read within bounds, and only as what they should be."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runner.small_files import Malformed, open_regular, read_as, read_entries, read_lines, read_text


@dataclass(frozen=True)
class Example:
    """A little of everything."""

    name: str
    step: int
    value: float | None
    words: Mapping[str, Sequence[str]]
    more: Mapping[str, float] | None = None


GOOD = {"name": "ä", "step": 3, "value": 0.5, "words": {"a": ["b"]}}


def write(path: Path, entries: Any) -> Path:
    path.write_text(entries if isinstance(entries, str) else json.dumps(entries))
    return path


def test_a_record_is_read_as_its_dataclass(tmp_path: Path) -> None:
    found = read_as(write(tmp_path / "x.json", {**GOOD, "unknown": [None]}), Example)
    assert found == Example("ä", 3, 0.5, {"a": ["b"]}, None)
    assert read_as(write(tmp_path / "x.json", {**GOOD, "value": None, "more": {"x": 1}}), Example).more == {"x": 1}


BAD = {
    "a bool for a count": {**GOOD, "step": True},
    "a negative count": {**GOOD, "step": -1},
    "a fraction for a count": {**GOOD, "step": 1.0},
    "text for a number": {**GOOD, "value": "0.5"},
    "a bool for a number": {**GOOD, "value": True},
    "a list for a mapping": {**GOOD, "words": []},
    "text for a list": {**GOOD, "words": {"a": "b"}},
    "a number in a list of text": {**GOOD, "words": {"a": [1]}},
    "null for a text": {**GOOD, "name": None},
    "nothing": {},
    "no object": [],
    "no JSON": "{",
    "an endless number": json.dumps(GOOD).replace("0.5", "1" * 5000),
    "a huge number": json.dumps(GOOD).replace("3", str(10**400)),
    "a number above every float": json.dumps(GOOD).replace("0.5", "1e999"),
    "NaN": json.dumps(GOOD).replace("0.5", "NaN"),
    "a lone surrogate": json.dumps({**GOOD, "name": "\ud800"}),
    "a lone surrogate for a key": json.dumps({**GOOD, "words": {"\udfff": []}}),
    "depth without end": '{"a":' * 5000 + "1" + "}" * 5000,
    "depth beyond ours": json.dumps({**GOOD, "x": json.loads("[" * 40 + "]" * 40)}),
}


@pytest.mark.parametrize("entries", BAD.values(), ids=BAD)
def test_what_no_run_writes_is_malformed(tmp_path: Path, entries: Any) -> None:
    with pytest.raises(Malformed):
        read_as(write(tmp_path / "x.json", entries), Example)


def test_neither_a_link_nor_a_pipe_nor_a_folder_is_opened(tmp_path: Path) -> None:
    write(tmp_path / "real", GOOD)
    (tmp_path / "link").symlink_to("real")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("link", "pipe", "folder"):
        for flags in (os.O_RDONLY, os.O_WRONLY | os.O_APPEND | os.O_CREAT):
            with pytest.raises((Malformed, OSError)):
                open_regular(tmp_path / name, flags)
    with pytest.raises(Malformed, match="it is a link"):
        read_entries(tmp_path / "link")
    with pytest.raises(FileNotFoundError):
        read_entries(tmp_path / "absent")


def test_a_sparse_file_of_gigabytes_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    path.write_bytes(b"step\n1\n")
    os.truncate(path, 3 << 30)
    began = time.monotonic()
    with pytest.raises(Malformed, match="more than 4 MiB"):
        read_text(path)
    assert list(read_lines(path)) == [b"step\n", b"1\n"]
    assert time.monotonic() - began < 2


def test_what_is_no_utf_8_is_malformed(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xff\xfe")
    with pytest.raises(Malformed, match="UTF-8"):
        read_text(tmp_path / "x")


def test_what_is_appended_to_a_regular_file_follows_what_was_there(tmp_path: Path) -> None:
    for text in (b"one", b"two"):
        with open_regular(tmp_path / "x", os.O_WRONLY | os.O_APPEND | os.O_CREAT) as file:
            file.write(text)
    assert (tmp_path / "x").read_bytes() == b"onetwo"
