"""A listing as one self-contained page: a sortable table, and the curves of a chosen metric.

The page loads nothing. Its policy lets exactly one script run, by its hash, so that no text of a run can.
"""

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from runner.commands.tools.listing.curves import MOST_RUNS, curves
from runner.commands.tools.listing.run import Run
from runner.errors import ConfigError, NameTaken, NotWritable
from runner.files import replace_text
from runner.small_files import Malformed, open_regular
from runner.text import printable

_ROOM = files("runner.commands.tools.listing")

Cell = tuple[Any, str]
"""What a cell is sorted by, and what it shows."""


def write_page(target: Path, heads: Sequence[str], rows: Sequence[Sequence[Cell]], runs: Sequence[Run]) -> str:
    """Write the page, in place of an earlier one, and return which curves it has.

    Raises:
        NameTaken, ConfigError, NotWritable: another file has the name, the folder is missing, or cannot be written.
    """
    _check(target)
    lines, told = curves(runs), _told(runs)
    data = {"runs": [printable(run.path) for run in runs[:MOST_RUNS]], "curves": lines}
    try:
        replace_text(target, _text(heads, rows, data, told))
    except OSError as error:
        raise NotWritable(f"{target} could not be written: {error.strerror or error}; name another file") from error
    return f"{len(lines)} metrics{told}"


def _told(runs: Sequence[Run]) -> str:
    return f" of the first {MOST_RUNS} runs" if len(runs) > MOST_RUNS else ""


def _check(target: Path) -> None:
    if not target.parent.is_dir():
        raise ConfigError(f"{target.parent} is not a folder; make it, or name another file with --html")
    if target.exists() or target.is_symlink():
        try:
            with open_regular(target) as file:
                ours = file.readline(200) == _file("page.html").encode().partition(b"\n")[0] + b"\n"
        except (OSError, Malformed):
            ours = False
        if not ours:
            raise NameTaken(f"{target} exists and is not a page of this tool; name another file with --html")


def _text(heads: Sequence[str], rows: Sequence[Sequence[Cell]], data: Any, told: str) -> str:
    script = _file("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return Template(_file("page.html")).substitute(
        hash=f"sha256-{digest}",
        title=f"{len(rows)} runs",
        style=_file("page.css"),
        caption=html.escape(f"Curves{told}"),
        heads="".join(f'<th scope="col" aria-sort="none">{_escaped(head)}</th>' for head in heads),
        rows="\n".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows),
        data=_embedded(data),
        script=script,
    )


def _file(name: str) -> str:
    return _ROOM.joinpath(name).read_text(encoding="utf-8")


def _cell(cell: Cell) -> str:
    value, text = cell
    numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
    sorted_by = "" if value is None else f' data-value="{_escaped(value)}"'
    return f"<td{' class=number' if numeric else ''}{sorted_by}>{_escaped(text)}</td>"


def _escaped(value: object) -> str:
    return html.escape(printable(value))


def _embedded(data: Any) -> str:
    """Return JSON that cannot end the element that it is in."""
    text = json.dumps(data, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
