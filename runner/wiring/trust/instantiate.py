"""From a config node to its object: a trusted class or function, called with arguments that fit its signature."""

import inspect
import re
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from typing import Any

from runner.blame import raised
from runner.errors import ConfigError, RunnerError, TargetRefused
from runner.wiring.trust.targets import Trust, resolve

_DEEPEST = 100  # levels of a config


def build(
    node: Mapping[str, Any],
    role: type,
    *,
    place: str,
    trust: Trust,
    first: Iterable[Any] = (),
    given: Mapping[str, Any] | None = None,
    facts: Mapping[str, Any] | None = None,
    reserved: Iterable[str] = (),
) -> Any:
    """Return the object that a config node describes: of a class, or what a function of an exact name returns.

    `first` are positional arguments; `given` fill parameters of these names that the config leaves out; `facts` are
    passed where a key `given`, of this node or of one within it, asks for them; `reserved` keys are not passed.

    Raises:
        ConfigError: an unknown or missing argument, or an error of the class itself.
    """
    name = _name_in(node, place)
    cls = resolve(name, role, trust, place)
    apart = {"_target_", *reserved, *(() if facts is None else ("given",))}
    arguments = {key: _nested(value, f"{place}.{key}", trust, facts) for key, value in node.items() if key not in apart}
    asked = {} if facts is None else _asked(node.get("given"), facts, f"{place}.given")
    arguments = {**_fitting(cls, given or {}), **asked, **arguments}
    if trust.budget and not isinstance(cls, type) and arguments.get("pretrained"):
        arguments["pretrained"] = False  # the file has the weights, and it may not start a download
    first = tuple(first)
    try:
        with trust.budget.bound(name, cls, arguments, place) if trust.budget else nullcontext():
            built = cls(*first, **arguments)
    except RunnerError:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, TypeError):
            _check_signature(cls, first, arguments, f"{place}: {name}")  # only now: a signature may say too little
        raise ConfigError(f"{place} could not be built: {cls.__name__} raised {raised(error)}") from error
    if not isinstance(built, role):  # from a function, or a class whose __new__ returns something else
        raise TargetRefused(f"{place}: {cls.__name__} returned a {type(built).__name__}, wanted a {role.__name__}")
    return built


def _name_in(node: Any, place: str) -> str:
    if not isinstance(node, Mapping) or node.get("_target_") is None:
        raise ConfigError(f"{place}._target_ is missing; set it, such as {place}._target_=my_package.MyClass")
    return str(node["_target_"])


def parameters_of(node: Mapping[str, Any], role: type, *, place: str, trust: Trust) -> list[str]:
    """Return the names of the parameters that a config node's class or function takes; raises like `build`."""
    return _parameters(resolve(_name_in(node, place), role, trust, place))


def _asked(asked: Any, facts: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Return facts of the data by parameter, from a list of facts or a mapping of facts to parameters."""
    if not isinstance(asked, list | Mapping | None):
        raise ConfigError(f"{place}={asked} is invalid; write a list, such as {place}=[num_classes]")
    pairs = asked.items() if isinstance(asked, Mapping) else [(name, name) for name in asked or ()]
    if absent := [str(fact) for fact, _ in pairs if str(fact) not in facts]:
        raise ConfigError(f"{place}: the data have no {absent[0]}; name some of: {', '.join(facts) or 'nothing'}")
    return {str(parameter): facts[str(fact)] for fact, parameter in pairs}


def _nested(value: Any, place: str, trust: Trust, facts: Mapping[str, Any] | None) -> Any:
    if place.count(".") + place.count("[") > _DEEPEST:
        raise ConfigError(f"{place.split('.')[0]} is nested too deeply; use at most {_DEEPEST} levels")
    if isinstance(value, Mapping):
        if "_target_" in value:
            return build(value, object, place=place, trust=trust, facts=facts)
        return {key: _nested(item, f"{place}.{key}", trust, facts) for key, item in value.items()}
    if isinstance(value, list):
        return [_nested(item, f"{place}[{number}]", trust, facts) for number, item in enumerate(value)]
    if not isinstance(value, str | int | float | None):
        raise ConfigError(f"{place} is a {type(value).__name__}; give a number, a string, a list or a mapping")
    return value


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
            raise ConfigError(f"{what} needs images, but the data have none ({fact[1]}); try model=mlp") from error
        names = ", ".join(_parameters(cls)) or "none"
        raise ConfigError(f"{what} cannot take these keys ({error}); its parameters are: {names}") from error


def _parameters(cls: Any) -> list[str]:
    try:
        return list(inspect.signature(cls).parameters)
    except ValueError:
        return []
