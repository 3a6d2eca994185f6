"""From a `_target_` to what builds the object, a trusted class of its role or a function of an exact name.

A file's function needs its exact name in `trust`: of a trusted package, its arguments could do more than a class's.

Resolving a name imports exactly its module and walks through classes only, so that
`torch.nn.modules.module.torch.load` leads nowhere.
"""

import importlib.util
import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from runner.blame import raised
from runner.errors import ConfigError, TargetRefused
from runner.wiring.overrides.program import project_folder
from runner.wiring.trust.built_in import ROOTS, built_in
from runner.wiring.trust.own_code import defines, own_module

_LONGEST = 300  # characters of a name


class Budget(Protocol):
    """Limits what a file's config may build."""

    def bound(self, name: str, cls: Any, arguments: Mapping[str, Any], place: str) -> AbstractContextManager[Any]:
        """Return a context to build `cls`, called `name`, in; raise TargetRefused if that takes too much."""


@dataclass(frozen=True)
class Trust:
    """Which classes may be built, besides the built-in ones of each role."""

    packages: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    """Exact names from conf/ or the command line; functions must be listed here."""
    folder: Path | None = None
    """The project's folder, such as that of `run.py`, whose own modules and packages are trusted."""
    budget: Budget | None = None
    """The limits for a file's config; None for a typed config."""

    def covers(self, name: str) -> bool:
        """Return whether `name` is under a trusted root; imports nothing."""
        named = any(_under(name, package) for package in self.packages)
        return named or (self.folder is not None and own_module(name, self.folder) is not None)


def _under(name: str, root: str) -> bool:
    return name == root or name.startswith(root + ".")


def target_names(node: Any) -> set[str]:
    """Return every `_target_` in a config."""
    return {name for _, name in places_of_targets(node)}


def places_of_targets(node: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield the place and the name of every `_target_` in a config."""
    if isinstance(node, Mapping):
        if isinstance(node.get("_target_"), str):
            yield place, node["_target_"]
        for key, value in node.items():
            yield from places_of_targets(value, f"{place}.{key}" if place else str(key))
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from places_of_targets(value, place)


def resolves(name: str, trust: Trust, place: str) -> bool:
    """Return whether `trust` allows a class of this name at a place."""
    try:
        resolve(name, object, trust, place)
    except TargetRefused:
        return False
    return True


def resolve(name: str, role: type, trust: Trust, place: str) -> Any:
    """Return the class called `name`, or the function, if exactly this name was typed or listed.

    Raises:
        TargetRefused: not trusted, not found, not a class, or not a subclass of `role`.
    """
    if len(name) > _LONGEST or not all(part.isidentifier() and part[:2] != "__" for part in name.split(".")):
        raise TargetRefused(f"{place}._target_={name[:_LONGEST]!r} is not the name of a class; write module.ClassName")
    found: Any = built_in(name, place)
    if found is None and name in trust.names:
        found = _walk(name, place)
        if inspect.isroutine(found):
            return found
    elif found is None:
        found = _of_a_trusted_root(name, trust, place)
    if inspect.isroutine(found):
        listed = ",".join([*sorted(package for package in trust.packages if _under(name, package)), name])
        raise TargetRefused(
            f"{place}._target_={name} comes from a file and is a function, which is built only if its exact name is "
            f"trusted; if it returns your {role.__name__}, add trust=[{listed}]"
        )
    if not isinstance(found, type):
        kind = type(found).__name__
        raise TargetRefused(f"{place}._target_={name} is a {kind}; name a class or a function that makes one")
    if not issubclass(found, role):
        raise TargetRefused(f"{place}._target_={name} is not a {role.__name__}; name a class that is one")
    return found


def _of_a_trusted_root(name: str, trust: Trust, place: str) -> Any:
    if not trust.covers(name):
        advice = f"if it is yours, add trust=[{trust_entry(name)}]"
        raise TargetRefused(f"{place}._target_={name} comes from a file and is not trusted; {advice}")
    if any(_under(name, package) for package in trust.packages):
        _check_regular(name, place)
    else:
        _check_own(name, trust.folder, place)
    found = _walk(name, place)
    if isinstance(found, type) and not trust.covers(f"{found.__module__}.{found.__qualname__}"):
        raise TargetRefused(
            f"{place}._target_={name} leads to {found.__module__}, which is not trusted; name the class there"
        )
    return found


def trust_entry(name: str) -> str:
    """Return the entry of `trust` for a class: its package, or its name for torch, runner and Python's library."""
    package = name.split(".")[0]
    return name if package in ROOTS or package in sys.stdlib_module_names else package


def _check_own(name: str, folder: Path | None, place: str) -> None:
    """Raise TargetRefused unless source in the project's folder defines the class and Python finds that source."""
    assert folder is not None
    file, package = own_module(name, folder), name.split(".")[0]
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError, AttributeError):
        spec = None
    if spec is None or spec.origin is None or file is None or Path(spec.origin).resolve() != file.resolve():
        elsewhere = "nowhere" if spec is None else spec.origin
        raise TargetRefused(f"{place}._target_={name} is in {folder}, but Python finds {package} in {elsewhere}")
    if not defines(name, folder):
        raise TargetRefused(
            f"{place}._target_={name} is not a class in {folder}, in a module or a package with __init__.py; "
            f"check the spelling, or, if it is a function or made in another way, add trust=[{name}]"
        )


def _check_regular(name: str, place: str) -> None:
    """Raise TargetRefused for a folder without `__init__.py` in a package that has one: data, not modules."""
    parts = name.split(".")
    for length in range(2, len(parts)):
        module = ".".join(parts[:length])
        try:
            spec, package = importlib.util.find_spec(module), importlib.util.find_spec(parts[0])
        except Exception:  # `_walk` reports it
            return
        if spec is not None and spec.origin is None and package is not None and package.origin is not None:
            raise TargetRefused(
                f"{place}._target_={name}: the folder {module} has no __init__.py; add it, or trust=[{name}]"
            )


def _walk(name: str, place: str) -> Any:
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        module_name = ".".join(parts[:length])
        try:
            found: Any = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name is not None and _under(module_name, error.name):
                continue
            raise ConfigError(f"{place}._target_={name} cannot be imported: {error}") from error
        except Exception as error:
            raise ConfigError(f"importing {module_name} for {place}._target_ raised {raised(error)}") from error
        for step in parts[length:]:
            if found is not None and inspect.ismodule(getattr(found, step, None)):
                raise TargetRefused(
                    f"{place}._target_={name} goes through a module's import; name the class where it is defined"
                )
            found = getattr(found, step, None)
        if found is None:
            raise TargetRefused(f"{place}._target_={name} does not exist in {module_name}; check the spelling")
        return found
    if len(parts) == 1:
        raise TargetRefused(f"{place}._target_={name} is not a class; write module and class: {name}.ClassName")
    raise _absent(name, place)


def check_modules(node: Any) -> None:
    """Raise TargetRefused for a `_target_` whose package does not exist; imports nothing."""
    for place, name in places_of_targets(node):
        package = name.split(".")[0]
        if package.isidentifier() and package != name and importlib.util.find_spec(package) is None:
            raise _absent(name, place)


def _absent(name: str, place: str) -> TargetRefused:
    folder = project_folder()
    where = "among the installed packages" if folder is None else f"in {folder}, or among the installed packages"
    return TargetRefused(
        f"{place}._target_={name}: there is no module {name.split('.')[0]!r} {where}; check the spelling"
    )
