"""The sentences of the program that tell somebody what to type, read from its source."""

import ast
import re
from collections.abc import Iterator

from tests.support import REPOSITORY

HOLE = "{}"
"""What stands in a sentence where a value is put in."""

_TYPED = r"(?:python -m \w|(?<![\w`-])--?[a-z][\w-]*|[+~]?[\w./{}]+=(?!=))"
_TOLD = (
    r"\b(?:use|uses|add|write|take|set|give|try|choose|name|run|rerun|mend|begin|begins|go on|fork|raise|lower|wait|"
    r"leave|shows?|names?|with|by|such as|or|and|is in|without|brings|are)\b"
)


def is_advice(sentence: str) -> bool:
    """Return whether a sentence, behind what it says is wrong, names something to type."""
    wrong, parted, way_out = (*re.split("(; |: )", sentence, maxsplit=1), "", "")[:3]
    begins = bool(parted) and re.match(_TYPED, way_out)
    return bool(begins or re.search(f"{_TOLD}[^;]*?{_TYPED}", way_out if parted else wrong))


def sentences() -> dict[str, str]:
    """Return every sentence, or part of one, that names something to type, by its place in the source."""
    paths = sorted((REPOSITORY / "runner").rglob("*.py"))
    found = {}
    for path in (path for path in paths if path.name != "help.py"):
        for line, text in _texts(ast.parse(path.read_text())):
            if " " in text and is_advice(text):
                found[f"{path.relative_to(REPOSITORY)}:{line}"] = text
    return found


def _texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the strings of a module with their lines, docstrings and sentences of `--help` left out."""
    passed: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) or (isinstance(node, ast.keyword) and node.arg == "help"):
            passed.add(node.value)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "key":
            passed.update(node.args)
        if node in passed:
            continue
        if isinstance(node, ast.JoinedStr):
            passed.update(node.values)
            parts = (part.value if isinstance(part, ast.Constant) else HOLE for part in node.values)
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
