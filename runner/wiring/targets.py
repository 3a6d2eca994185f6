"""From a `_target_` to an object: named classes of the right role only, checked before anything is called.

A name is resolved by importing exactly its module and walking through classes, so that
`torch.nn.modules.module.torch.load` leads nowhere.
"""

import importlib.util
import inspect
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.errors import ConfigError, RunnerError, TargetRefused

_ALWAYS = ("runner", "torch.nn", "torch.optim", "torch.utils.data")


@dataclass(frozen=True)
class Trust:
    """Whose classes may be built: the built-in roots, what was named, and what lies in the project's folder."""

    packages: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    """Exact names from conf/ or the command line; functions need to be here."""
    folder: Path | None = None
    """The project's folder, `run.py`'s say; a package is trusted that is imported from there."""

    def allows(self, name: str) -> bool:
        """Return whether `name` was named, or lies under a trusted root; imports nothing."""
        named = name in self.names or any(_under(name, package) for package in self.packages)
        beside = self.folder is not None and _lies_in(name.split(".")[0], self.folder)
        return named or is_built_in(name) or beside


def is_built_in(name: str) -> bool:
    """Return whether a name lies under a root that is always trusted."""
    return any(_under(name, root) for root in _ALWAYS)


def _under(name: str, root: str) -> bool:
    return name == root or name.startswith(root + ".")


def _lies_in(package: str, folder: Path) -> bool:
    """Return whether an import of the package would take it straight out of the folder: no other one shadows it."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError, AttributeError):
        return False
    if spec is None:
        return False
    if spec.submodule_search_locations is not None:
        return any(Path(location).resolve().parent == folder for location in spec.submodule_search_locations)
    return spec.origin is not None and Path(spec.origin).resolve().parent == folder


def target_names(node: Any) -> set[str]:
    """Return every `_target_` in a config."""
    if isinstance(node, Mapping):
        own = {node["_target_"]} if isinstance(node.get("_target_"), str) else set()
        return own.union(*(target_names(value) for value in node.values()))
    if isinstance(node, (list, tuple)):
        return set().union(*(target_names(value) for value in node))
    return set()


def resolve(name: str, role: type, trust: Trust, place: str) -> Any:
    """Return the class that `name` names, or the function, if exactly this name was typed or listed.

    Raises:
        TargetRefused: not trusted, not found, no class, or no subclass of `role`.
    """
    if not trust.allows(name):
        raise TargetRefused(
            f"{place}._target_={name} comes out of a file and is not trusted; "
            f"if it is yours, add trust=[{name.split('.')[0]}]"
        )
    found = _walk(name, place)
    if inspect.isroutine(found) and name in trust.names:
        return found
    if not isinstance(found, type):
        raise TargetRefused(
            f"{place}._target_={name} is not a class but a {type(found).__name__}; name a class that is a "
            f"{role.__name__}, or, for a function of yours, add trust=[{name}]"
        )
    root = next((root for root in _ALWAYS if _under(name, root)), name.split(".")[0])
    if not _under(found.__module__, root) and name not in trust.names:
        raise TargetRefused(f"{place}._target_={name} leads to {found.__module__}, outside of {root}; name it there")
    if not issubclass(found, role) or (name.startswith("torch.") and not issubclass(found, _torch_roles())):
        raise TargetRefused(f"{place}._target_={name} is not a {role.__name__}; name a class that is one")
    return found


def _torch_roles() -> tuple[type, ...]:
    """Return what a file may have built of torch's own, wherever any object would do."""
    from torch.nn import Module
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler
    from torch.utils.data import Dataset, Sampler

    return Module, Optimizer, LRScheduler, Dataset, Sampler


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
            raise ConfigError(f"importing {module_name} for {place}._target_ raised {_brief(error)}") from error
        for step in parts[length:]:
            if found is not None and inspect.ismodule(getattr(found, step, None)):
                raise TargetRefused(
                    f"{place}._target_={name} goes through a module's import; name the class where it is"
                )
            found = getattr(found, step, None)
        if found is None:
            raise TargetRefused(f"{place}._target_={name} does not exist in {module_name}; mind the spelling")
        return found
    if len(parts) == 1:
        raise TargetRefused(f"{place}._target_={name} names no class; write its module and the class: {name}.ClassName")
    raise TargetRefused(f"{place}._target_={name}: there is no module {parts[0]!r} here; mind the spelling")


def build(
    node: Mapping[str, Any],
    role: type,
    *,
    place: str,
    trust: Trust,
    first: Iterable[Any] = (),
    given: Mapping[str, Any] | None = None,
    reserved: Iterable[str] = (),
) -> Any:
    """Return the object that a config node describes.

    `first` are positional arguments; `given` are passed where the class has parameters of these
    names and the config is silent; `reserved` keys belong to somebody else.

    Raises:
        ConfigError: an argument that the class does not have or lacks, or its own refusal.
    """
    if "_target_" not in node:
        raise ConfigError(f"{place}._target_ is missing; set it, such as {place}._target_=my_package.MyClass")
    cls = resolve(str(node["_target_"]), role, trust, place)
    arguments = {
        key: _nested(value, f"{place}.{key}", trust)
        for key, value in node.items()
        if key != "_target_" and key not in set(reserved)
    }
    arguments = {**_fitting(cls, given or {}), **arguments}
    _check_signature(cls, tuple(first), arguments, f"{place}: {node['_target_']}")
    try:
        built = cls(*first, **arguments)
    except RunnerError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{place} could not be built: {cls.__name__} raised {_brief(error)}") from error
    if not isinstance(built, role):  # of a function, or of a class whose __new__ returns something else
        raise TargetRefused(f"{place}: {cls.__name__} returned a {type(built).__name__}, wanted a {role.__name__}")
    return built


def _nested(value: Any, place: str, trust: Trust) -> Any:
    if isinstance(value, Mapping):
        if "_target_" in value:
            return build(value, object, place=place, trust=trust)
        return {key: _nested(item, f"{place}.{key}", trust) for key, item in value.items()}
    return [_nested(item, place, trust) for item in value] if isinstance(value, list) else value


def _fitting(cls: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    parameters = _parameters(cls)
    return {name: value for name, value in given.items() if name in parameters}


def _check_signature(cls: Any, first: tuple[Any, ...], arguments: Mapping[str, Any], what: str) -> None:
    try:
        inspect.signature(cls).bind(*first, **arguments)
    except ValueError:
        return  # a class written in C without a signature
    except TypeError as error:
        if fact := re.search("missing .*'(in_channels|image_size)'", str(error)):
            raise ConfigError(f"{what} needs images, and the data have none ({fact[1]}); try model=mlp") from error
        names = ", ".join(_parameters(cls)) or "none"
        raise ConfigError(f"{what} cannot take these keys ({error}); its parameters are: {names}") from error


def _parameters(cls: Any) -> list[str]:
    try:
        return list(inspect.signature(cls).parameters)
    except ValueError:
        return []


def _brief(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
