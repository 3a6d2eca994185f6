"""A class in the project's own folder, found by reading: nothing is imported to learn whether it is there.

Python imports a package from any folder below the project's, `outputs/gift/evil.py` too. Here only a module
(`x.py`) or a package (with `__init__.py`) directly in the folder counts, and below it only regular packages.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from runner.errors import ConfigError
from runner.wiring.trust.built_in import ROOTS

_NEVER = (*ROOTS, "outputs", "tests")
_LARGEST = 1 << 22  # bytes of a source file


def own_module(name: str, folder: Path) -> Path | None:
    """Return the file of the outermost module of `package.module.Class` if the folder itself holds it."""
    top = name.split(".")[0]
    return None if top in _NEVER else _file(folder, top)


def defines(name: str, folder: Path) -> bool:
    """Return whether the project's own source defines the class `name`, perhaps taking it from another file of it."""
    return _defines(name.split("."), folder, set())


def _defines(parts: list[str], folder: Path, seen: set[str]) -> bool:
    if ".".join(parts) in seen or len(parts) < 2 or parts[0] in _NEVER:
        return False
    seen.add(".".join(parts))
    *modules, attribute = parts
    file = folder / "__init__.py"
    for number, part in enumerate(modules):
        found = _file(file.parent, part) if file.name == "__init__.py" else None
        if found is None:  # no module but a class, which has others in it
            return number > 0 and _defines(parts[: number + 1], folder, seen)
        file = found
    package = modules if file.name == "__init__.py" else modules[:-1]
    return any(
        source is None or _defines(source, folder, seen) for source in _sources(_source(file), attribute, package)
    )


def _file(folder: Path, part: str) -> Path | None:
    """Return the file of a module in a folder: a regular one, that no link has brought from elsewhere."""
    for file in (folder / part / "__init__.py", folder / f"{part}.py"):
        if file.is_file() and file.resolve() == folder.resolve() / file.relative_to(folder):
            return file
    return None


def _source(file: Path) -> list[ast.stmt]:
    try:
        return ast.parse(file.read_bytes()).body if file.stat().st_size < _LARGEST else []
    except SyntaxError as error:
        raise ConfigError(f"{file}, line {error.lineno}: {error.msg}; mend it") from error
    except (OSError, ValueError, RecursionError, MemoryError):
        return []


def _sources(body: list[ast.stmt], attribute: str, package: list[str]) -> Iterator[list[str] | None]:
    """Yield where a module may have the name from: None for its own statement, else the parts of a full name."""
    for statement in _top_level(body):
        if isinstance(statement, ast.ClassDef) and statement.name == attribute:
            yield None
        if isinstance(statement, ast.Assign) and attribute in {ast.unparse(target) for target in statement.targets}:
            yield None
        if isinstance(statement, ast.ImportFrom):
            home = package[: len(package) - statement.level + 1] if statement.level else []
            home = [*home, *(statement.module.split(".") if statement.module else ())]
            for alias in statement.names:
                if alias.name == "*" or attribute == (alias.asname or alias.name):
                    yield [*home, attribute if alias.name == "*" else alias.name]


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield what a module does when it is imported, also behind `if` and `try`; no function's body."""
    for statement in body:
        yield statement
        for inner in ("body", "orelse", "handlers", "finalbody"):
            if isinstance(statement, (ast.If, ast.Try, ast.With, ast.ExceptHandler)):
                yield from _top_level(getattr(statement, inner, []))
