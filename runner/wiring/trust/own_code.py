"""Find a class in the project's own folder by reading its source, without importing anything.

Python imports packages from any folder below the project's, even `outputs/gift/evil.py`. Here only a module (`x.py`)
or a package (with `__init__.py`) directly in the folder counts, and below it only regular packages.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from runner.errors import ConfigError
from runner.wiring.trust.built_in import ROOTS

_NEVER = (*ROOTS, "outputs", "tests")
_LARGEST = 1 << 22  # bytes of a source file


def own_module(name: str, folder: Path) -> Path | None:
    """Return the file of the outermost module of `package.module.Class`, if it is in the folder itself."""
    top = name.split(".")[0]
    return None if top in _NEVER else _file(folder, top)


def defines(name: str, folder: Path) -> bool:
    """Return whether the project's own source defines the class `name`, or imports it from its other files."""
    return _defines(name.split("."), folder, set())


def _defines(parts: list[str], folder: Path, seen: set[str]) -> bool:
    if ".".join(parts) in seen or len(parts) < 2 or parts[0] in _NEVER:
        return False
    seen.add(".".join(parts))
    *modules, attribute = parts
    file = folder / "__init__.py"
    for number, part in enumerate(modules):
        found = _file(file.parent, part) if file.name == "__init__.py" else None
        if found is None:  # a class with nested ones
            return number > 0 and _defines(parts[: number + 1], folder, seen)
        file = found
    package = modules if file.name == "__init__.py" else modules[:-1]
    return any(
        source is None or _defines(source, folder, seen) for source in _sources(_source(file), attribute, package)
    )


def _file(folder: Path, part: str) -> Path | None:
    """Return the file of a module in a folder, unless a link leads elsewhere."""
    for file in (folder / part / "__init__.py", folder / f"{part}.py"):
        if file.is_file() and file.resolve() == folder.resolve() / file.relative_to(folder):
            return file
    return None


def _source(file: Path) -> list[ast.stmt]:
    try:
        return ast.parse(file.read_bytes()).body if file.stat().st_size < _LARGEST else []
    except SyntaxError as error:
        raise ConfigError(f"{file}, line {error.lineno}: {error.msg}; correct it") from error
    except (OSError, ValueError, RecursionError, MemoryError):
        return []


def _sources(body: list[ast.stmt], attribute: str, package: list[str]) -> Iterator[list[str] | None]:
    """Yield the possible sources of a name: None for a statement of the module itself, else a full name's parts."""
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
    """Yield the statements that an import runs, also inside `if` and `try`, but not function bodies."""
    for statement in body:
        yield statement
        for inner in ("body", "orelse", "handlers", "finalbody"):
            if isinstance(statement, (ast.If, ast.Try, ast.With, ast.ExceptHandler)):
                yield from _top_level(getattr(statement, inner, []))
